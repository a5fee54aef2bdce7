/*
 * profile_samples.c: what burst mode counted → estimates of executions.
 *
 * The moments, with and without a burst, stand for burst_ns of
 * user time each, in which a program executes some SAMPLE_INSNS_PER_NS instructions a nanosecond:
 * only the size of all counts together depends on that number. One whole factor for all of them:
 * what flowed still flows.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

const LiveData *profile_scale_samples(Arena *arena, const LiveData *live)
{
    enum { SAMPLE_INSNS_PER_NS = 2 };
    uint64_t seen = 0, all;
    bool used;
    for (uint32_t i = 0; i < live->n_blocks; i++) {
        uint64_t insns;
        if (__builtin_mul_overflow(live_run_count(live, &live->blocks[i], &used),
                                   (uint64_t)live->blocks[i].n_insns, &insns))
            return live;
        seen = count_add(seen, insns);
    }
    if (seen == 0 || __builtin_mul_overflow(live->header.moments, live->header.burst_ns, &all) ||
        __builtin_mul_overflow(all, (uint64_t)SAMPLE_INSNS_PER_NS, &all))
        return live;
    uint64_t factor = all / seen > 1 ? all / seen : 1;
    uint64_t *counters = arena_many(arena, uint64_t, live->n_counters);
    for (uint32_t i = 0; i < live->n_counters; i++)
        if (__builtin_mul_overflow(live->counters[i], factor, &counters[i]))
            counters[i] = UINT64_MAX;
    LiveData *scaled = arena_copy(arena, live, sizeof *live);
    scaled->counters = counters;
    return scaled;
}

ProfileBursts profile_bursts(const LiveHeader *header)
{
    return (ProfileBursts){ .moments = header->moments,
                            .taken = header->bursts,
                            .time_ns = header->moments * header->burst_ns,
                            .spent_ns = header->spent_ns };
}

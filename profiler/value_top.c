/*
 * value_top.c: adding to a summary of values. SPDX-License-Identifier: MIT
 */
#include "profiler/value_top.h"

/* A place for a new value; NULL: all are taken, and each has lost one. */
static LiveTop *make_place(LiveValue *site)
{
    for (unsigned i = 0; i < LIVE_TOPS; i++)
        if (site->top[i].count == 0)
            return &site->top[i];
    for (unsigned i = 0; i < LIVE_TOPS; i++)
        site->top[i].count--;
    site->missed++;
    return 0;
}

/* Whoever reads the file meanwhile finds a value with its count, or none. */
void value_top_add(LiveValue *site, uint64_t value)
{
    site->n++;
    for (unsigned i = 0; i < LIVE_TOPS; i++) {
        if (site->top[i].value != value || site->top[i].count == 0)
            continue;
        site->top[i].count++;
        return;
    }
    LiveTop *place = make_place(site);
    if (place == 0)
        return;
    place->value = value;
    __atomic_store_n(&place->count, 1, __ATOMIC_RELEASE);
}

void value_top_clear(LiveValue *site)
{
    site->n = site->missed = 0;
    for (unsigned i = 0; i < LIVE_TOPS; i++)
        site->top[i].count = 0;
}

/*
 * values.c: the table of value sites, and what an observation does.
 *
 *   (pc, kind) ──► ValueSite ──► LiveValue in the live file, changed in place
 *
 * A site has a lock of its own, held for some twenty instructions: observations are exact with any
 * number of threads. Strides are the distance between two executions in a row by one thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/values.h"

#include "profiler/lookup.h"
#include "profiler/pool.h"
#include "profiler/value_top.h"

enum {
    SITE_BUCKETS = 1 << 12,
    LOOP_BUCKETS = 1 << 10,
    PAGE_BITS = 12,
    NEARLY = 64, /* sites of a block are observed together: they end together, too */
};

struct ValueSite {
    uint64_t pc;
    LiveValue *live;
    uint64_t last;       /* address, of loads */
    const Cpu *last_cpu; /* whose; NULL: not executed yet */
    volatile uint32_t busy;
    bool ended;      /* its blocks were forgotten */
    ValueSite *next; /* in its bucket */
};

/* A range of code that a backward branch repeats, under each page that it touches. */
typedef struct LoopNode {
    uint64_t start, end;
    struct LoopNode *next;
} LoopNode;

static ValueSite *sites[SITE_BUCKETS];
static uint32_t n_sites;
static LoopNode *loops[LOOP_BUCKETS];

static uint32_t bucket_of(uint64_t key, uint32_t buckets)
{
    return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 40) & (buckets - 1);
}

/* With a code cache, values are not worth interpreting a block for ever. */
static bool may_end(void)
{
    return vm_keeps_gs(&the_vm);
}

ValueSite *values_site(uint64_t pc, LiveValueKind kind, uint64_t slot)
{
    CodeMap map;
    ValueSite **head = &sites[bucket_of(pc, SITE_BUCKETS)];
    uint32_t index = map_find_code(pc, &map) ? map.live : LIVE_NO_MAP;
    for (ValueSite *site = *head; site != NULL; site = site->next) {
        if (site->pc != pc || site->live->kind != (uint32_t)kind || site->live->map != index)
            continue;
        bool enough = may_end() && site->live->n + NEARLY >= VALUES_ENOUGH;
        site->ended |= enough;
        return enough ? NULL : site;
    }
    if (n_sites == VALUES_MOST) {
        live_values_full();
        return NULL;
    }
    ValueSite *site = pool_take(sizeof *site);
    *site = (ValueSite){ .pc = pc, .next = *head };
    site->live = live_add_value(&(LiveValue){ .pc = pc, .slot = slot, .kind = (uint32_t)kind });
    *head = site;
    n_sites++;
    return site;
}

static void lock_site(ValueSite *site)
{
    while (__atomic_exchange_n(&site->busy, 1, __ATOMIC_ACQUIRE) != 0)
        __asm__ volatile("pause");
}

static void unlock_site(ValueSite *site)
{
    __atomic_store_n(&site->busy, 0, __ATOMIC_RELEASE);
}

/* The site was observed enough: the blocks that hold it are decoded again, without it. */
static __attribute__((noinline)) void end_site(ValueSite *site)
{
    vm_lock(&the_vm.code_lock);
    if (!site->ended) {
        site->ended = true;
        lookup_forget(site->pc, site->pc + 1);
    }
    vm_unlock(&the_vm.code_lock);
}

void values_note(ValueSite *site, uint64_t value)
{
    lock_site(site);
    value_top_add(site->live, value);
    bool enough = site->live->n >= VALUES_ENOUGH;
    unlock_site(site);
    if (UNLIKELY(enough) && may_end() && !site->ended)
        end_site(site);
}

void values_note_address(ValueSite *site, const Cpu *cpu, uint64_t address)
{
    lock_site(site);
    bool again = site->last_cpu == cpu;
    if (again)
        value_top_add(site->live, address - site->last);
    site->last_cpu = cpu;
    site->last = address;
    bool enough = site->live->n >= VALUES_ENOUGH;
    unlock_site(site);
    if (UNLIKELY(enough) && may_end() && !site->ended)
        end_site(site);
}

void values_forked(void)
{
    for (unsigned i = 0; i < SITE_BUCKETS && n_sites != 0; i++) {
        for (ValueSite *site = sites[i]; site != NULL; site = site->next) {
            site->busy = 0;
            site->ended = false;
            value_top_clear(site->live);
        }
    }
}

/* ---- loops ---- */

static const LoopNode *find_loop(uint64_t page, uint64_t start, uint64_t end)
{
    const LoopNode *node = loops[bucket_of(page, LOOP_BUCKETS)];
    while (node != NULL && (node->start > start || node->end < end))
        node = node->next;
    return node;
}

bool values_in_loop(uint64_t pc)
{
    return find_loop(pc >> PAGE_BITS, pc, pc + 1) != NULL;
}

bool values_add_loop(uint64_t start, uint64_t end)
{
    if (find_loop(start >> PAGE_BITS, start, end) != NULL)
        return false;
    for (uint64_t page = start >> PAGE_BITS; page <= (end - 1) >> PAGE_BITS; page++) {
        LoopNode **head = &loops[bucket_of(page, LOOP_BUCKETS)];
        LoopNode *node = pool_take(sizeof *node);
        *node = (LoopNode){ start, end, *head };
        *head = node;
    }
    return true;
}

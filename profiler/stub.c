/*
 * stub.c: indirect branches in the cache: one stub for each (site, target).
 *
 *   site   lea ecx, [rax + number]; movzx ecx, cx; jmp gs:[rcx * 8 + table]
 *   stub   this target?  ── yes ──► count, restore, jump to its trace
 *                        ── no ───► the stub that stood in this place of the table before, or the
 * VM
 *
 * Numbers of sites are all different in their 16 bits, so two stubs in one place of the table have
 * different targets, and comparing the target is enough.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/weave.h"

#include "profiler/link.h"
#include "profiler/lookup.h"
#include "profiler/pool.h"

enum {
    SITES = 1 << 16,
    SPREAD = 0x9e3b, /* odd: number * SPREAD goes through all 16-bit values */
    STUB_ROOM = 256,
    RETURN_CHUNK = 4096,
    RETURN_CHUNKS = 4096,
};

typedef struct Stub {
    uint64_t target;
    const uint8_t *code;
    const struct Stub *before; /* the stub that it leads to where the target is another */
    Site *site;
    struct Stub *next; /* of its site */
    struct Stub *newer;
    volatile bool is_dead;
} Stub;

static Site *sites[SITES];
static uint32_t n_sites;             /* numbers ever given */
static uint16_t spare_number[SITES]; /* those given back */
static uint32_t n_spare;
static Stub *oldest, **newest = &oldest; /* all stubs there are, in the order of their making */
static Stub *spare_stubs;
static const Op **returns[RETURN_CHUNKS];
static uint32_t n_returns = 1;

/* ---- sites and returns ---- */

bool stub_has_numbers(void)
{
    enum { MOST_IN_A_TRACE = 2 * PATH_BLOCKS };
    return SITES - n_sites + n_spare >= MOST_IN_A_TRACE;
}

bool stub_new_site(Site *site)
{
    if (n_spare != 0)
        site->number = spare_number[--n_spare];
    else if (n_sites != SITES)
        site->number = (n_sites++ * SPREAD) & (SITES - 1);
    else
        return false;
    sites[site->number] = site;
    return true;
}

static uint32_t new_return(const Op *op)
{
    if (n_returns == RETURN_CHUNKS * RETURN_CHUNK)
        vm_die("too many returns in the code cache", n_returns);
    const Op ***chunk = &returns[n_returns / RETURN_CHUNK];
    if (*chunk == NULL)
        *chunk = vm_alloc(RETURN_CHUNK * sizeof **chunk);
    (*chunk)[n_returns % RETURN_CHUNK] = op;
    return n_returns++;
}

uint32_t stub_return_number(Block *block)
{
    if (block->number == 0)
        block->number = new_return(block_last_record(block));
    return block->number;
}

const Op *stub_return(uint32_t number)
{
    return returns[number / RETURN_CHUNK][number % RETURN_CHUNK];
}

Site *stub_site(uint32_t number)
{
    return sites[number & (SITES - 1)];
}

/* ---- stubs ---- */

static uint32_t index_of(const Site *site, uint64_t pc)
{
    return ((uint32_t)pc + site->number) & (SITES - 1);
}

static const uint8_t **place_of(const Cpu *cpu, uint32_t index)
{
    return (const uint8_t **)(void *)((char *)cpu->counter + AREA_INDIRECT) + index;
}

/* Code that goes on, in the end, to what `head` is the entry of; NULL: to the VM, as all do. */
static bool leads_to(const Stub *stub, const Stub *head)
{
    while (stub != NULL && stub->before != head)
        stub = stub->before;
    return stub != NULL;
}

static uint32_t stub_counter(const Site *site, const Target *target)
{
    uint32_t counter = weave_counters(1);
    live_add_sum((LiveSum){ target->counter, counter });
    live_add_sum((LiveSum){ site->edge, counter });
    if (site->before != 0)
        live_add_sum((LiveSum){ site->before, counter });
    return counter;
}

/* Before a stub's entry. */
typedef struct StubCells {
    const uint8_t *otherwise;
    const Stub *stub;
} StubCells;

static const Stub *stub_of_entry(const uint8_t *entry)
{
    return ((const StubCells *)(const void *)entry - 1)->stub;
}

static void put_stub(Code *code, Stub *stub, const Site *site, uint32_t counter, Trace *trace)
{
    enum { LOAD_INDEX_AND_JUMP = 5 + 8, JUMP_BY_CELL = 6 };
    StubCells cells = { stub->before != NULL ? stub->before->code : NULL, stub };
    const StubCells *at = (const StubCells *)(void *)code->at;
    emit_bytes(code, &cells, sizeof cells);
    stub->code = code->at;
    emit_constant(code, R_RCX, -stub->target);
    emit_lea_sum(code, R_RCX, R_RCX, R_RAX);
    emit_skip_if_zero(code, stub->before == NULL ? LOAD_INDEX_AND_JUMP : JUMP_BY_CELL);
    if (stub->before == NULL) {
        emit_constant4(code, R_RCX, index_of(site, stub->target));
        emit_gs_jump(code, AREA_SLOT(miss_indirect));
    } else {
        emit_cell_jump(code, &at->otherwise);
    }
    emit_count(code, counter, R_RCX);
    emit_gs_load(code, R_RCX, AREA_SLOT(rcx));
    if (!site->in_rax)
        emit_gs_load(code, R_RAX, AREA_SLOT(rax));
    link_note(trace, emit_link(code, trace->code));
}

static Stub *new_stub(void)
{
    Stub *stub = spare_stubs;
    if (stub != NULL)
        spare_stubs = stub->next;
    else
        stub = pool_take(sizeof *stub);
    *stub = (Stub){ 0 };
    *newest = stub;
    newest = &stub->newer;
    return stub;
}

void stub_install(const Cpu *cpu, Site *site, const Target *target, Trace *trace)
{
    const uint8_t **place = place_of(cpu, index_of(site, target->pc));
    const uint8_t *miss = (const uint8_t *)area_slots(cpu)->miss_indirect;
    const Stub *head = *place != miss ? stub_of_entry(*place) : NULL;
    CacheRoom room;
    if (head != NULL && head->is_dead)
        head = NULL;
    for (const Stub *stub = site->stubs; stub != NULL; stub = stub->next) {
        if (stub->target == target->pc && leads_to(stub, head)) {
            *place = stub->code;
            return;
        }
    }
    if (live_is_full() || !cache_room((uint64_t)trace->code, 0, STUB_ROOM, false, &room) ||
        trace->stale != 0 || cache_is_leaving(site->code) || (head != NULL && head->is_dead))
        return;
    Stub *stub = new_stub();
    stub->target = target->pc;
    stub->before = head;
    stub->site = site;
    stub->next = site->stubs;
    uint32_t counter = stub_counter(site, target);
    put_stub(&room.cold, stub, site, counter, trace);
    CountNode *node = pool_take(sizeof *node);
    *node = (CountNode){ counter, target->counts };
    ((Target *)(uintptr_t)target)->counts = node;
    site->stubs = stub;
    cache_keep(&room, NULL);
    *place = stub->code;
}

/* ---- emptying an arena ---- */

bool stub_is_dead(const uint8_t *entry)
{
    return stub_of_entry(entry)->is_dead;
}

static bool is_in(const CacheArena *arena, const uint8_t *at)
{
    return at >= arena->start && at < arena->end;
}

/* Live stubs only. */
static void filter_stubs(Site *site)
{
    for (Stub **at = &site->stubs; *at != NULL;) {
        if ((*at)->is_dead)
            *at = (*at)->next;
        else
            at = &(*at)->next;
    }
}

/* A stub leads to older ones only: one pass finds all that lead to a dead one. */
void stub_withdraw(const CacheArena *arena)
{
    for (Stub *stub = oldest; stub != NULL; stub = stub->newer) {
        if (stub->is_dead || !(is_in(arena, stub->code) || is_in(arena, stub->site->code) ||
                               (stub->before != NULL && stub->before->is_dead)))
            continue;
        stub->is_dead = true;
        filter_stubs(stub->site);
    }
}

/* No table of any thread leads to the arena's stubs any more, and none of its sites is executed. */
void stub_finish(const CacheArena *arena)
{
    Stub **at = &oldest;
    while (*at != NULL) {
        Stub *stub = *at;
        if (!is_in(arena, stub->code)) {
            at = &stub->newer;
            continue;
        }
        *at = stub->newer;
        stub->next = spare_stubs;
        spare_stubs = stub;
    }
    newest = at;
    for (uint32_t number = 0; number < SITES; number++) {
        if (sites[number] == NULL || !is_in(arena, sites[number]->code))
            continue;
        sites[number] = NULL;
        spare_number[n_spare++] = (uint16_t)number;
    }
}

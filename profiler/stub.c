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
    struct Stub *next;         /* of its site */
} Stub;

static Exit *sites[SITES];
static uint32_t n_sites;
static const Op **returns[RETURN_CHUNKS];
static uint32_t n_returns;

bool stub_new_site(Exit *site)
{
    if (n_sites == SITES)
        return false;
    site->number = (n_sites++ * SPREAD) & (SITES - 1);
    sites[site->number] = site;
    return true;
}

uint32_t stub_new_return(const Op *op)
{
    if (n_returns == RETURN_CHUNKS * RETURN_CHUNK)
        vm_die("too many returns in the code cache", n_returns);
    const Op ***chunk = &returns[n_returns / RETURN_CHUNK];
    if (*chunk == NULL)
        *chunk = vm_alloc(RETURN_CHUNK * sizeof **chunk);
    (*chunk)[n_returns % RETURN_CHUNK] = op;
    return n_returns++;
}

const Op *stub_return(uint32_t number)
{
    return returns[number / RETURN_CHUNK][number % RETURN_CHUNK];
}

Exit *stub_site(uint32_t number)
{
    return sites[number & (SITES - 1)];
}

static uint32_t index_of(const Exit *site, uint64_t pc)
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

static uint32_t stub_counter(const Exit *site, const Target *target)
{
    uint32_t counter = live_new_counters(1);
    live_add_sum((LiveSum){ target->counter, counter });
    live_add_sum((LiveSum){ site->edge, counter });
    if (site->before != 0)
        live_add_sum((LiveSum){ site->before, counter });
    return counter;
}

/* Before a stub's entry. */
typedef struct StubCells {
    uint64_t negated;
    const uint8_t *otherwise;
    const Stub *stub;
} StubCells;

static const Stub *stub_of_entry(const uint8_t *entry)
{
    return ((const StubCells *)(const void *)entry - 1)->stub;
}

static void put_stub(Code *code, Stub *stub, const Exit *site, uint32_t counter, Trace *trace)
{
    enum { LOAD_INDEX_AND_JUMP = 5 + 8, JUMP_BY_CELL = 6 };
    StubCells cells = { -stub->target, stub->before != NULL ? stub->before->code : NULL, stub };
    const StubCells *at = (const StubCells *)(void *)code->at;
    emit_bytes(code, &cells, sizeof cells);
    stub->code = code->at;
    emit_cell_load(code, R_RCX, &at->negated);
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
    glue_note_link(trace, emit_link(code, trace->code));
}

void stub_install(const Cpu *cpu, Exit *site, const Target *target, Trace *trace)
{
    const uint8_t **place = place_of(cpu, index_of(site, target->pc));
    const uint8_t *miss = (const uint8_t *)area_slots(cpu)->miss_indirect;
    const Stub *head = *place != miss ? stub_of_entry(*place) : NULL;
    CacheRoom room;
    for (const Stub *stub = site->stubs; stub != NULL; stub = stub->next) {
        if (stub->target == target->pc && leads_to(stub, head)) {
            *place = stub->code;
            return;
        }
    }
    if (!cache_room((uint64_t)trace->code, 0, STUB_ROOM, &room))
        return;
    Stub *stub = pool_take(sizeof *stub);
    stub->target = target->pc;
    stub->before = head;
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

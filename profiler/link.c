/*
 * link.c: jumps from translated code to traces.
 *
 *     field ─────────────────► trace           a trace has the list of the jumps to its entry
 *     field ──► door ── cell ─► trace          …where the entry is out of reach,
 *                       or ───► the VM         …or is not there any more
 *
 * A door stands for one guest address, in a part of the cache that is never emptied: so there are
 * no more of them than guest addresses that traces began at. When its address has a trace again,
 * all jumps to the door that reach the trace lead there directly.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/link.h"

#include "profiler/cache.h"
#include "profiler/pool.h"
#include "profiler/weave.h"

enum { DOOR_BUCKETS = 1 << 12, DOOR_ROOM = 128 };

typedef struct Door {
    uint64_t pc;
    uint32_t from;        /* Trace.from */
    const uint8_t *code;  /* jmp [cell] */
    const uint8_t **cell; /* the entry of `trace`, or… */
    const uint8_t *leave; /* …an exit */
    Trace *trace;
    PoolRef links; /* jumps to `code` */
    struct Door *next;
} Door;

static Door *doors[DOOR_BUCKETS];
static PoolRef spare; /* LinkNode */

/* ---- lists ---- */

/* `to`: what all jumps of the list lead to. */
static void push(PoolRef *list, const uint8_t *to, const uint8_t *field)
{
    PoolRef ref = spare;
    if (ref == 0)
        ref = pool_ref(pool_take(sizeof(LinkNode)));
    LinkNode *node = pool_at(ref);
    spare = node->next;
    *node = (LinkNode){ (int32_t)(field - to), *list };
    *list = ref;
}

static uint8_t *field_of(PoolRef ref, const uint8_t *to)
{
    return (uint8_t *)(uintptr_t)to + ((const LinkNode *)pool_at(ref))->field;
}

static uint8_t *pop(PoolRef *list, const uint8_t *to)
{
    PoolRef ref = *list;
    LinkNode *node = pool_at(ref);
    uint8_t *field = field_of(ref, to);
    *list = node->next;
    node->next = spare;
    spare = ref;
    return field;
}

static void drop_fields(PoolRef *list, const uint8_t *to, const uint8_t *start, const uint8_t *end)
{
    while (*list != 0) {
        const uint8_t *field = field_of(*list, to);
        if (field >= start && field < end)
            pop(list, to);
        else
            list = &((LinkNode *)pool_at(*list))->next;
    }
}

void link_note(Trace *trace, uint8_t *field)
{
    push(&trace->links, trace->code, field);
}

/* ---- doors ---- */

static Door **bucket_of(uint64_t pc)
{
    return &doors[(pc * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (DOOR_BUCKETS - 1)];
}

static void put_door(Code *code, Door *door)
{
    Exit *leave = glue_exit(NULL, door->from != 0 ? EXIT_LANDING : EXIT_TO, door->pc);
    leave->counter = door->from;
    door->cell = (const uint8_t **)(void *)code->at;
    code->at += CELL;
    door->code = code->at;
    emit_cell_jump(code, (const void *)door->cell);
    door->leave = code->at;
    glue_leave_entry(code, leave);
    *door->cell = door->leave;
}

static Door *door_for(uint64_t pc, uint32_t from, const uint8_t *field)
{
    CacheRoom room;
    Door **bucket = bucket_of(pc);
    for (Door *door = *bucket; door != NULL; door = door->next) {
        if (door->pc == pc && door->from == from && emit_reaches(field, door->code))
            return door;
    }
    if (!cache_door_room((uint64_t)field, DOOR_ROOM, &room))
        return NULL;
    Door *door = pool_take(sizeof *door);
    *door = (Door){ .pc = pc, .from = from, .next = *bucket };
    put_door(&room.cold, door);
    cache_keep(&room, NULL);
    *bucket = door;
    return door;
}

static void point_door(Door *door, Trace *trace)
{
    door->trace = trace;
    __atomic_store_n(door->cell, trace != NULL ? trace->code : door->leave, __ATOMIC_RELEASE);
}

bool link_lead(uint8_t *field, Trace *trace, uint64_t pc, uint32_t from)
{
    if (trace != NULL && emit_reaches(field, trace->code)) {
        emit_patch(field, trace->code);
        link_note(trace, field);
        return true;
    }
    Door *door = door_for(pc, from, field);
    if (door == NULL)
        return false;
    if (door->trace != trace)
        point_door(door, trace);
    emit_patch(field, door->code);
    push(&door->links, door->code, field);
    return true;
}

/* ---- traces that come and go ---- */

static uint64_t head_of(const Trace *trace)
{
    return trace_block(trace, 0)->pc;
}

void link_open(Trace *trace)
{
    for (Door *door = *bucket_of(head_of(trace)); door != NULL; door = door->next) {
        if (door->pc != head_of(trace) || door->from != trace->from)
            continue;
        PoolRef waiting = door->links;
        door->links = 0;
        point_door(door, trace);
        while (waiting != 0) /* to this door again, where the trace is out of reach */
            link_lead(pop(&waiting, door->code), trace, door->pc, door->from);
    }
}

static void close_doors(const Trace *trace)
{
    for (Door *door = *bucket_of(head_of(trace)); door != NULL; door = door->next) {
        if (door->trace == trace)
            point_door(door, NULL);
    }
}

void link_supersede(Trace *old, Trace *made)
{
    for (Door *door = *bucket_of(head_of(old)); door != NULL; door = door->next) {
        if (door->trace == old)
            point_door(door, made);
    }
    PoolRef kept = 0;
    while (old->links != 0) {
        uint8_t *field = pop(&old->links, old->code);
        if (!link_lead(field, made, head_of(made), made->from))
            push(&kept, old->code, field); /* no room for a door: by way of the old entry */
    }
    old->links = kept;
}

bool link_lead_elsewhere(Trace *trace)
{
    bool all = true;
    Trace *other = translate_find(trace_block(trace, 0), trace->from);
    close_doors(trace);
    while (trace->links != 0) {
        uint8_t *field = pop(&trace->links, trace->code);
        all &= link_lead(field, other, head_of(trace), trace->from);
    }
    return all;
}

void link_drop_fields(const uint8_t *start, const uint8_t *end)
{
    for (uint32_t i = 0; i < cache_n_arenas(); i++) {
        const CacheArena *arena = cache_arena(i);
        for (uint32_t k = 0; k < arena->n_traces; k++) {
            Trace *trace = (Trace *)(uintptr_t)arena->traces[k];
            drop_fields(&trace->links, trace->code, start, end);
        }
    }
    for (unsigned i = 0; i < DOOR_BUCKETS; i++) {
        for (Door *door = doors[i]; door != NULL; door = door->next)
            drop_fields(&door->links, door->code, start, end);
    }
}

/*
 * decode_run.c: runs of guest instructions, from the bytes of their pages.
 *
 *   page  [ ... insn insn insn in|sn ... ]      a window of bytes, to the page's end at most;
 * across ^ window ─────────►             it only for an instruction that goes on there
 *
 * The page behind code need not be there: a mapping can be longer than its file.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/decode.h"

#include "profiler/fetch.h"
#include "profiler/gate.h"

enum { MAX_INSN = 15, PAGE = 4096, WINDOW = 64 };

/* Bytes from pc that may be read as code. */
static uint64_t readable(uint64_t pc, const CodeMap *map)
{
    CodeMap next;
    uint64_t here = map->end - pc;
    if (here < MAX_INSN && map_find_code(map->end, &next))
        here += MAX_INSN;
    return here;
}

typedef struct OneInsn {
    GuestInsn *insn;
    uint64_t pc;
    unsigned room;
    bool done;
} OneInsn;

static void decode_one_in_gate(void *argument)
{
    OneInsn *one = argument;
    uint8_t bytes[MAX_INSN];
    unsigned room = (unsigned)code_read(bytes, one->pc, one->room);
    one->done = decode_in_full(one->insn, one->pc, bytes, room) == DECODED;
}

bool decode_one(GuestInsn *insn, uint64_t pc, unsigned room)
{
    OneInsn one = { insn, pc, room, false };
    gate_call(decode_one_in_gate, &one);
    return one.done;
}

/* By the decoder of forms. False: it is none of its own. */
static bool decode_form(GuestInsn *insn, const uint8_t *bytes, uint64_t pc, unsigned room)
{
    if (!fetch_insn(insn, bytes, room, pc))
        return false;
    fetch_complete(insn, bytes);
    return true;
}

/*
 * Other than by a push. A checked block compares its bytes only when it is entered, so it ends
 * behind whatever may change them.
 */
static bool may_store(const GuestInsn *insn)
{
    bool memory = insn->shape == SHAPE_M || insn->shape == SHAPE_MR || insn->shape == SHAPE_MI ||
                  insn->shape == SHAPE_COUNT;
    return insn->is_string || (insn->faults && memory);
}

/* Code, read some instructions at a time. */
typedef struct Window {
    uint64_t start, end;
    bool is_short;                       /* the file that is mapped here ends at `end` */
    uint8_t bytes[WINDOW + FETCH_READS]; /* zeros behind `end` */
} Window;

static void read_window(Window *window, uint64_t pc, uint64_t size)
{
    size_t got = code_read(window->bytes, pc, size);
    for (unsigned i = 0; i < FETCH_READS; i++)
        window->bytes[got + i] = 0;
    window->start = pc;
    window->end = pc + got;
    window->is_short = got < size;
}

/* To the end of the page: no instruction asked for the next, which may not be there. */
static void look_at(Window *window, uint64_t pc, const CodeMap *map)
{
    uint64_t size = readable(pc, map), in_page = PAGE - (pc & (PAGE - 1));
    uint64_t most = in_page < WINDOW ? in_page : WINDOW;
    read_window(window, pc, size < most ? size : most);
}

/* The instruction at `pc` goes on in the next page. False: there is none. */
static bool look_on(Window *window, uint64_t pc, const CodeMap *map)
{
    uint64_t size = readable(pc, map);
    if (window->is_short || window->end - pc >= MAX_INSN || window->end - pc >= size)
        return false;
    read_window(window, pc, size < MAX_INSN ? size : MAX_INSN);
    return true;
}

/*
 * The instruction at `pc`, whose bytes are in the window; false, where `in_gate` is false: it needs
 * Zydis, or more bytes.
 */
static bool decode_next(DecodedRun *run, Window *window, uint64_t pc, bool in_gate)
{
    GuestInsn *insn = &run->insn[run->n];
    DecodeAnswer answer;
    do {
        const uint8_t *bytes = &window->bytes[pc - window->start];
        uint64_t size = window->end - pc;
        unsigned room = size < MAX_INSN ? (unsigned)size : MAX_INSN;
        if (decode_form(insn, bytes, pc, room))
            return true;
        if (!in_gate)
            return false;
        answer = decode_in_full(insn, pc, bytes, room);
        if (answer == DECODED)
            return true;
    } while (answer == DECODED_SHORT && look_on(window, pc, &run->map));
    run->end = DECODE_BAD;
    if (answer == DECODED_SHORT)
        run->end = window->is_short ? DECODE_BUS : DECODE_FETCH;
    return false;
}

/* Decodes on; ends at what needs Zydis where `in_gate` is false. */
static void decode_on(DecodedRun *run, bool in_gate)
{
    uint64_t pc = run->pc + run->size;
    Window window;
    window.end = 0;
    while (run->n < BLOCK_MAX_INSNS) {
        GuestInsn *insn = &run->insn[run->n];
        if (window.end < pc + MAX_INSN)
            look_at(&window, pc, &run->map);
        if (!decode_next(run, &window, pc, in_gate))
            return;
        run->n++;
        pc += insn->size;
        run->size = (uint32_t)(pc - run->pc);
        if (insn->flow != FLOW_NEXT)
            run->end = DECODE_FLOW;
        run->ended = insn->flow != FLOW_NEXT || pc >= run->map.end ||
                     (pc & -(uint64_t)PAGE) != (run->pc & -(uint64_t)PAGE) ||
                     run->size + MAX_INSN > BLOCK_MAX_BYTES ||
                     (run->map.checked && may_store(insn));
        if (run->ended)
            return;
    }
    run->ended = true;
}

static void decode_in_gate(void *argument)
{
    decode_on(argument, true);
}

/* Into the gate at the first instruction that needs it, and then to the end there: once a block. */
void decode_run(uint64_t pc, DecodedRun *run)
{
    run->pc = pc;
    run->n = 0;
    run->size = 0;
    run->end = DECODE_LIMIT;
    run->ended = false;
    if (!map_find_code(pc, &run->map)) {
        run->end = DECODE_FETCH;
        return;
    }
    decode_on(run, false);
    if (!run->ended)
        gate_call(decode_in_gate, run);
}

LiveEnd decode_live_end(const DecodedRun *run)
{
    switch (run->end == DECODE_FLOW ? run->insn[run->n - 1].flow : FLOW_NEXT) {
    case FLOW_COND:
    case FLOW_COUNT:
        return LIVE_END_COND;
    case FLOW_JUMP:
    case FLOW_ABORT:
        return LIVE_END_JUMP;
    case FLOW_CALL:
        return LIVE_END_CALL;
    case FLOW_JUMP_IND:
        return LIVE_END_JUMP_IND;
    case FLOW_CALL_IND:
        return LIVE_END_CALL_IND;
    case FLOW_RET:
        return LIVE_END_RET;
    case FLOW_SYSCALL:
        return LIVE_END_SYSCALL;
    default:
        return LIVE_END_FALL;
    }
}

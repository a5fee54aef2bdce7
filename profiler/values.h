/*
 * values.h: `respin profile --values`: what values instructions work on.
 *
 *   value_sites.c      which instructions of a block are observed, and what of them
 *   values.c           the table of sites; an observation
 *   handlers_values.c  the records that stand before an instruction and make it
 *   value_top.c        the summary of one site
 *
 * A site is one instruction and one kind; wherever it is decoded, it is the same site. Memory is
 * bounded: VALUES_MOST sites, each of LIVE_TOPS values. With a code cache a site is observed
 * VALUES_ENOUGH times; then its blocks are decoded again, without it, and may be translated.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_VALUES_H
#define RESPIN_PROFILER_VALUES_H

#include "profiler/decode.h"

enum {
    VALUES_MOST = 1 << 15,   /* sites of a process */
    VALUES_ENOUGH = 1 << 12, /* observations, where there is a code cache */
    VALUES_PER_BLOCK = 16,   /* sites */
    VALUES_SLOTS = 2,        /* of a record */
};

typedef struct ValueSite ValueSite;

/* An observation to be made before instruction `insn` of a block. */
typedef struct ValuePoint {
    uint8_t insn;
    uint8_t kind;   /* LiveValueKind */
    uint8_t reg;    /* offset into Cpu of what is observed; NO_REG: memory */
    uint8_t bits;   /* of it */
    bool is_signed; /* extended so */
    uint8_t mask;   /* bits of it that count; 0: all */
    GuestMem mem;   /* where `reg` is NO_REG: what is loaded, or (strides) its address */
    ValueSite *site;
} ValuePoint;

typedef struct ValuePoints {
    uint32_t n;
    ValuePoint point[VALUES_PER_BLOCK];
} ValuePoints;

/*
 * What is observed of a run, in order of its instructions; sites are made. None without --values,
 * or when all have been observed enough. code_lock is held.
 */
void values_find(const DecodedRun *run, ValuePoints *out);

/* The site of the instruction at `pc`; NULL: it needs none any more, or there is no room. `slot`:
 * of a call, the address of its GOT slot. code_lock is held. */
ValueSite *values_site(uint64_t pc, LiveValueKind kind, uint64_t slot);
/* One observation. Any thread. */
void values_note(ValueSite *site, uint64_t value);
/* The load at a site reads from `address`; the distance from the time before is observed, when that
 * was the same thread. */
void values_note_address(ValueSite *site, const Cpu *cpu, uint64_t address);
/* In a forked child, whose live profile is new: other threads' locks are nobody's. */
void values_forked(void);

/* A loop was decoded: [start, end), by its backward branch. False: known. code_lock is held. */
bool values_add_loop(uint64_t start, uint64_t end);
bool values_in_loop(uint64_t pc);

/* Records; slot 1, word 1 is the site. */
Handler h_value_reg;                      /* a: register, b: unused bits, c: signed, d: mask */
extern Handler *const h_value_mem[16];    /* by size and operand mode; a: signed */
extern Handler *const h_value_address[4]; /* by operand mode */

#endif

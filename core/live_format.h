/*
 * The live profile: a file that the process VM writes by plain stores into a shared mapping, and
 * that can be read at any moment, also after the process was killed.
 *
 * Freestanding: included by the VM core. docs/formats/live.md explains it.
 *
 *   offset 0          LiveHeader, then LiveChunk directory[LIVE_CHUNKS]
 *   LIVE_DATA_OFFSET  chunks, each page-aligned: arrays of records or of counters
 *
 * A record is valid once the directory's (or the header's) count covers it; counts are stored after
 * the record (release order). The value of counter `id` is the sum over all COUNTERS chunks whose
 * range holds `id` (one set per thread, and one for threads that ended).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_LIVE_FORMAT_H
#define RESPIN_CORE_LIVE_FORMAT_H

#include <stdint.h>

#define LIVE_MAGIC UINT64_C(0x3145564c4e505352) /* "RSPNLVE1" */
enum {
    LIVE_VERSION = 6,
    LIVE_CHUNKS = 16384,
    LIVE_PATH_MAX = 456,
};

typedef enum LiveChunkKind {
    LIVE_FREE,
    LIVE_MAPS,     /* LiveMap records */
    LIVE_BLOCKS,   /* LiveBlock records */
    LIVE_EDGES,    /* LiveEdge records */
    LIVE_COUNTERS, /* uint64_t, counter ids [first, first + size / 8) */
    LIVE_SUMS,     /* LiveSum records */
    LIVE_TEXTS,    /* LiveText records */
    LIVE_VALUES,   /* LiveValue records; changed in place */
} LiveChunkKind;

typedef struct LiveChunk {
    uint32_t kind;   /* LiveChunkKind; stored last */
    uint32_t thread; /* COUNTERS: slot of the thread; for people */
    uint64_t offset; /* in the file */
    uint64_t size;   /* bytes */
    uint64_t first;  /* index of its first record or counter */
} LiveChunk;

enum LiveFlag {
    LIVE_STOPPED = 1,      /* the disk was full: counting went on in memory that is lost */
    LIVE_DETACHED = 2,     /* went native */
    LIVE_ENDED = 4,        /* the process ended in order (exit_group or execve) */
    LIVE_CHILD = 8,        /* not the process that the user started */
    LIVE_SAMPLED = 16,     /* burst mode: counted were `bursts`, at moments `burst_ns` apart */
    LIVE_VALUES_FULL = 32, /* there were more value sites than there is room for */
};

typedef struct LiveHeader {
    uint64_t magic;
    uint32_t version;
    uint32_t flags; /* LiveFlag */
    uint64_t run;   /* one number for all processes of a run */
    uint32_t pid;
    uint32_t n_chunks; /* directory entries in use; stored after them */
    uint64_t n_maps;   /* records in all MAPS chunks; stored after the record */
    uint64_t n_blocks;
    uint64_t n_edges;
    uint64_t n_counters; /* ids handed out */
    uint64_t n_sums;
    uint64_t n_texts;
    uint64_t n_values;
    uint64_t bursts;   /* SAMPLED: how often the program was looked at… */
    uint64_t burst_ns; /* …the user CPU time between two moments of a thread… */
    uint64_t spent_ns; /* …the CPU time that the looks took… */
    uint64_t moments;  /* …and how often a look was due: some are left out (burst_share.h) */
    char command[LIVE_PATH_MAX];
} LiveHeader;

enum {
    LIVE_DIRECTORY_OFFSET = 4096,
    LIVE_DATA_OFFSET = LIVE_DIRECTORY_OFFSET + LIVE_CHUNKS * 32,
};

/* A mapping from which code was decoded. */
typedef struct LiveMap {
    uint64_t start; /* run-time */
    uint64_t end;
    uint64_t file_offset;
    uint64_t inode; /* with device, size and mtime: to notice that the file changed since */
    uint64_t device;
    uint64_t file_size;
    uint64_t mtime_ns;
    char path[LIVE_PATH_MAX]; /* "" anonymous; "[vdso]" */
} LiveMap;

enum { LIVE_NO_MAP = UINT32_MAX };

/* How a decoded run of instructions ends, and what its counters mean (base = LiveBlock.counter). */
typedef enum LiveEnd {
    LIVE_END_COND,     /* +0 taken, +1 not taken */
    LIVE_END_JUMP,     /* +0 */
    LIVE_END_CALL,     /* +0 calls, +1 returns to the next instruction */
    LIVE_END_JUMP_IND, /* +0 jumps in all; targets in LiveEdge */
    LIVE_END_CALL_IND, /* +0 calls in all, +1 returns to the next instruction; targets in LiveEdge
                        */
    LIVE_END_RET, /* +0 returns in all; those to a place that no call made are in LiveEdge too */
    LIVE_END_SYSCALL, /* +0 executed, +1 went on at the next instruction (in the same thread) */
    LIVE_END_FALL,    /* +0: goes on at its end (length limit, page end, leader) */
    LIVE_END_PARTIAL, /* +0: left after `size` bytes (fault, signal, exit): no edge */
} LiveEnd;

/* Decoded runs may overlap; the reader splits them at all observed targets. */
typedef struct LiveBlock {
    uint64_t start; /* run-time address */
    uint32_t size;  /* bytes */
    uint32_t n_insns;
    uint32_t last;    /* offset of the last instruction */
    uint32_t end;     /* LiveEnd */
    uint32_t map;     /* index of its LiveMap; LIVE_NO_MAP */
    uint32_t counter; /* id of its first counter */
    uint64_t target;  /* COND, JUMP, CALL: run-time address of the target */
} LiveBlock;

/* One observed target of an indirect branch. */
typedef struct LiveEdge {
    uint32_t block;   /* index of the LiveBlock it leaves */
    uint32_t counter; /* its counter id */
    uint64_t target;  /* run-time address */
    uint32_t map;     /* of the target when it was first seen; LIVE_NO_MAP: unknown */
    uint32_t spare;
} LiveEdge;

/*
 * What a reader adds: value(to) += value(from), for all records in reverse order of their index. So
 * a trace in the code cache counts its exits only: its records stand in the order of its blocks,
 * and a counter that no thread owns (always 0 in the file) carries the sum of what lies behind.
 */
typedef struct LiveSum {
    uint32_t to; /* counter ids */
    uint32_t from;
} LiveSum;

/* What became of text besides its execution. */
typedef enum LiveTextKind {
    LIVE_TEXT_READ,    /* the page at `address` was read as data */
    LIVE_TEXT_WRITTEN, /* text from the page at `address` on was made writable */
} LiveTextKind;

typedef struct LiveText {
    uint64_t address; /* run-time; a page's first byte */
    uint32_t map;     /* its LiveMap if code was decoded from it by then; LIVE_NO_MAP: the one that
                         holds the address, if any */
    uint32_t kind;    /* LiveTextKind */
} LiveText;

/* What is observed of an instruction. */
typedef enum LiveValueKind {
    LIVE_VALUE_INDEX,    /* of an indirect jump through a table */
    LIVE_VALUE_DIVISOR,  /* div, idiv; sign-extended for idiv */
    LIVE_VALUE_SHIFT,    /* count of a shift or rotation by a register, as the CPU masks it */
    LIVE_VALUE_REPEAT,   /* RCX of rep movs, stos, lods, cmps, scas */
    LIVE_VALUE_ARGUMENT, /* RDX of a call through the GOT slot `slot` */
    LIVE_VALUE_STRIDE,   /* address of a load, less the one before */
} LiveValueKind;

enum { LIVE_TOPS = 16 };

typedef struct LiveTop {
    uint64_t value;
    uint64_t count; /* 0: the place is free */
} LiveTop;

/* One site; `top` in no order. A value's true count is from count to count + missed. */
typedef struct LiveValue {
    uint64_t pc;   /* run-time address of the instruction */
    uint64_t slot; /* ARGUMENT: run-time address of the GOT slot */
    uint32_t map;  /* index of its LiveMap; LIVE_NO_MAP */
    uint32_t kind; /* LiveValueKind */
    uint64_t n;    /* observations */
    uint64_t missed;
    uint64_t spare[3];
    LiveTop top[LIVE_TOPS];
} LiveValue;

_Static_assert(sizeof(LiveChunk) == 32, "LiveChunk is a file format");
_Static_assert(sizeof(LiveHeader) <= 4096, "LiveHeader fits its page");
_Static_assert(sizeof(LiveMap) == 512, "LiveMap is a file format");
_Static_assert(sizeof(LiveBlock) == 40, "LiveBlock is a file format");
_Static_assert(sizeof(LiveEdge) == 24, "LiveEdge is a file format");
_Static_assert(sizeof(LiveSum) == 8, "LiveSum is a file format");
_Static_assert(sizeof(LiveText) == 16, "LiveText is a file format");
_Static_assert(sizeof(LiveValue) == 320, "LiveValue is a file format");

#endif

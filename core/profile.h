/*
 * The profile: exact counts of blocks and edges, per module, in link-time addresses.
 *
 * Written by `respin profile` (live form, core/live_format.h, then compacted), read by every stage.
 * docs/formats/profile.md gives the bytes. A text form serves tests and golden cases.
 *
 * Counts are executions. Blocks of a module do not overlap, are sorted, and every observed target
 * starts one. An instruction's count is its block's count. Edges leave the last instruction of a
 * block; an executed conditional branch has both of its edges (EDGE_TAKEN, EDGE_FALL), also the one
 * whose count is 0.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_PROFILE_H
#define RESPIN_CORE_PROFILE_H

#include "core/image.h"
#include "core/log.h"

typedef enum EdgeKind {
    EDGE_TAKEN,     /* conditional branch, taken */
    EDGE_FALL,      /* conditional branch not taken, or a block that ends where the next begins */
    EDGE_JUMP,      /* direct jump */
    EDGE_JUMP_IND,  /* indirect jump */
    EDGE_CALL,      /* direct call */
    EDGE_CALL_IND,  /* indirect call */
    EDGE_RETURN_TO, /* from a call instruction to the instruction after it: calls that came back */
    EDGE_RET,       /* from a ret to a place that no call made (mismatched returns) */
    EDGE_SYSCALL,   /* system call that came back to the next instruction */
    EDGE_KINDS,
} EdgeKind;

typedef struct ProfileBlock {
    Vaddr start;
    uint32_t size;    /* bytes; cut short where the last instruction runs into the next block (two
                         decodings of the same bytes were executed) */
    uint32_t n_insns; /* executed instructions in it; rep counts once */
    uint64_t count;
    const uint8_t *insn_sizes; /* bytes of each instruction, 1 to 15; NULL: not known */
} ProfileBlock;

enum { MODULE_NONE = UINT32_MAX }; /* outside every module (generated code) */

typedef struct ProfileEdge {
    Vaddr from;         /* the branching instruction's address (of EDGE_FALL without a branch: the
                           last instruction of the block) */
    Vaddr to;           /* in to_module; run-time address when that is MODULE_NONE */
    uint32_t to_module; /* index in Profile.modules */
    uint8_t kind;       /* EdgeKind */
    uint64_t count;
} ProfileEdge;

/* What is observed of an instruction (`respin profile --values`). */
typedef enum ObservedKind {
    OBSERVED_INDEX,   /* of an indirect jump: the index into its table */
    OBSERVED_DIVISOR, /* of div, idiv */
    OBSERVED_SHIFT,   /* count of a shift or rotation by a register, as the CPU masks it */
    OBSERVED_REPEAT,  /* RCX of rep movs, stos, lods, cmps, scas */
    OBSERVED_LENGTH,  /* third argument of a call to a mem* or strn* function */
    OBSERVED_STRIDE,  /* address of a load in a loop, less the one before; signed */
    OBSERVED_KINDS,
} ObservedKind;

enum { PROFILE_TOPS = 16 };

typedef struct ProfileTop {
    uint64_t value;
    uint64_t count;
} ProfileTop;

/* The most frequent values of one instruction. The true count of a value is from its count to its
 * count plus `missed`; with missed 0 all is exact, and what is not there did not occur. */
typedef struct ProfileValue {
    Vaddr at;     /* the instruction */
    uint8_t kind; /* ObservedKind */
    uint64_t n;   /* observations; not all executions where the VM translated the block later */
    uint64_t missed;
    uint32_t n_top;  /* at most PROFILE_TOPS */
    ProfileTop *top; /* by count, largest first; equal ones by value */
} ProfileValue;

typedef struct ProfileModule {
    const char *path;
    ImageKey key;         /* all zero for [vdso] and the like */
    ProfileBlock *blocks; /* sorted by start */
    uint32_t n_blocks;
    ProfileEdge *edges; /* sorted by from, kind, to_module, to */
    uint32_t n_edges;
    ProfileEdge *entries; /* edges from other modules into this one: `from` is VADDR_NONE, merged by
                             `to` and kind; sorted by to */
    uint32_t n_entries;
    Vaddr *read_pages; /* 4 KiB pages of text known to be read as data; sorted */
    uint32_t n_read_pages;
    ProfileValue *values; /* sorted by at, kind */
    uint32_t n_values;
    bool text_written; /* text of this module was written while it ran */
} ProfileModule;

/* What burst mode did; all 0 in profiles that were not made by it. */
typedef struct ProfileBursts {
    uint64_t moments;  /* how often a look was due… */
    uint64_t taken;    /* …and how often one was made */
    uint64_t time_ns;  /* user CPU time of the program that the moments stand for */
    uint64_t spent_ns; /* CPU time of the looks, in that of the program */
} ProfileBursts;

typedef struct Profile {
    const char *path;
    ProfileModule *modules;
    uint32_t n_modules;
    const char *command;   /* as started, words joined; "" unknown */
    uint32_t n_processes;  /* that contributed */
    uint64_t run;          /* its number; live files beside it that bear it belong to it; 0: none */
    bool complete;         /* false: still live, or the writer was killed */
    bool counting_stopped; /* the disk was full at some time: counts are a lower bound */
    bool sampled;          /* burst mode: counts are scaled samples */
    bool detached;         /* part of the run was native and not counted */
    ProfileBursts bursts;
    uint64_t outside_insns; /* executed outside every module (generated code), not in any block */
    const char *const *remarks; /* what could not be done exactly, for people; sorted, no doubles */
    uint32_t n_remarks;
} Profile;

/*
 * Reads a profile: the compact form, the live form (of a process still running, or killed, together
 * with the live files of its children beside it), or the text form.
 *
 * path:   "-" is standard input.
 * Result: in `arena`, never written again. Empty but well-formed is ST_OK with no modules.
 * Errors: ST_IO; ST_BAD_INPUT with file, section and byte offset of the first bad record.
 */
MUST_CHECK Status profile_read(Arena *arena, const char *path, const Profile **out, Error *err);

/* The same from bytes in memory, `name` being for messages; live files beside it are not looked
 * for.
 */
MUST_CHECK Status profile_read_memory(Arena *arena, const char *name, Bytes file,
                                      const Profile **out, Error *err);
/* True when the file begins as one of the three forms. */
bool profile_is_own(Bytes file);
/* A whole file into the arena; "-" is standard input. */
MUST_CHECK Status profile_slurp(Arena *arena, const char *path, Bytes *out, Error *err);

/* Writes the compact form to a temporary name beside `path` and renames it. Deterministic. */
MUST_CHECK Status profile_write(const Profile *profile, const char *path, Error *err);
/*
 * The end of a run: turns the live file at `path`, and the live files of its children that have
 * ended, into the compact form at `path`, and removes the children's. Files of children that live
 * on stay; every reader adds them. On failure everything is as it was. May be done again later.
 */
MUST_CHECK Status profile_finish(const char *path, const Log *log, Error *err);
/*
 * While the run goes on: sums up the live files of its children that have ended, so that thousands
 * of them need the disk of one. Does nothing when `path` is not the live file of `run`, when there
 * are few, or when another process does it already.
 */
MUST_CHECK Status profile_fold(const char *path, uint64_t run, Error *err);
/* Writes the text form into `out`. */
void profile_write_text(const Profile *profile, Buffer *out);

/* The sum of profiles (same module = equal key; else path when keys are empty). Blocks are split so
 * that leaders are the union. Associative and commutative. */
MUST_CHECK Status profile_merge(Arena *arena, const Profile *const *profiles, uint32_t n,
                                const Profile **out, Error *err);

/* The profile with every count `factor` times as large; borrows what does not change. */
const Profile *profile_scale(Arena *arena, const Profile *profile, uint64_t factor);

/* The module of the profile that is this image (by key). NULL: none. */
const ProfileModule *profile_module_for(const Profile *profile, const Image *image);

/* Executions of the instruction at `addr`: 0 when never executed. O(log n). */
uint64_t profile_count_at(const ProfileModule *module, Vaddr addr);
/* All edges that leave the instruction at `from`; *n = 0 when none. */
const ProfileEdge *profile_edges_from(const ProfileModule *module, Vaddr from, uint32_t *n);
/* True for what a branch recorder sees: taken, jump, jump-ind, call, call-ind. */
bool profile_edge_is_branch(uint8_t kind);
/* The last instruction of a block: where its edges leave, else by its sizes, else its start. */
Vaddr profile_last_insn(const ProfileModule *module, const ProfileBlock *block);
/* Sum over the module: executed instructions. */
uint64_t profile_instructions(const ProfileModule *module);

/* What was executed in a module, by class; sums of its blocks and edges. Calls and returns by the
 * module of the call. */
typedef struct ProfileFigures {
    uint64_t instructions;
    uint64_t branches;          /* conditional, executed */
    uint64_t taken_conditional; /* of them taken */
    uint64_t jumps; /* direct unconditional: with taken_conditional, the taken branches */
    uint64_t indirect_jumps;
    uint64_t calls; /* direct */
    uint64_t indirect_calls;
    uint64_t returns; /* to the instruction after a call of the module */
    uint64_t syscalls;
} ProfileFigures;

void profile_figures(const ProfileModule *module, ProfileFigures *out);

/* "index", "divisor"… as in the text form. */
const char *profile_value_name(ObservedKind kind);
/* "taken", "fall", "jump"… as in the text form. */
const char *profile_edge_name(EdgeKind kind);

/* 128-bit digest of blocks, edges and entries of all modules, as 32 hex digits. Paths, addresses of
 * generated code, processes, run and command are left out (core/profile_digest.c). */
void profile_digest(const Profile *profile, char out[33]);

#endif

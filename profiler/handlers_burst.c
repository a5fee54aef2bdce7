/*
 * handlers_burst.c: the record at which every block begins in burst mode.
 *
 *   slot 0   h_burst, imm: bytes     slot 1   address     slots 2...   the bytes that were decoded
 *
 * It ends the burst when its edges are used up or when the guest has entered an rseq critical
 * section (the branch that every such section has comes before its committing store). And it
 * compares the code with what was decoded: nobody tells the core of burst mode when the guest maps,
 * unmaps or writes code. It stands before the block's first instruction, so the guest's state is
 * exact.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/bodies.h"

static Op leave_here = { .run = h_exit_here, .imm = RUN_PENDING };

/* One piece of guest code against one of ours. A read that faults is the guest's own fetch. */
#define DIFFERS(bits)                                                                              \
    do {                                                                                           \
        register U64 kind_ __asm__("r8") = kind;                                                   \
        U64 now_;                                                                                  \
        __asm__ volatile(ACCESS(MOV_ZLOAD##bits " %[m], %" ZREG##bits "[v]")                       \
                         : [v] "=r"(now_)                                                          \
                         : [m] "m"(*(const U##bits *)at), PINNED(kind_)                            \
                         : "memory");                                                              \
        if (UNLIKELY((U##bits)now_ != *(const U##bits *)was)) {                                    \
            cpu->burst.changed = 1;                                                                \
            cpu->pc = op[1].word[0];                                                               \
            JUMP_TO(&leave_here);                                                                  \
        }                                                                                          \
    } while (0)

HANDLER(h_burst)
{
    U64 at = op[1].word[0];
    const U8 *was = (const U8 *)(op + 2);
    U32 left = (U32)op->imm;
    if (UNLIKELY(--cpu->burst.edges_left == 0 || *cpu->burst.critical != 0)) {
        cpu->pc = at;
        JUMP_TO(&leave_here);
    }
    for (; left >= 8; left -= 8, at += 8, was += 8)
        DIFFERS(64);
    for (; left != 0; left--, at++, was++)
        DIFFERS(8);
    JUMP_TO(op + 2 + ((U32)op->imm + sizeof *op - 1) / sizeof *op);
}

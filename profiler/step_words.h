/*
 * step_words.h: the words of handler.h and bodies.h in the engines that decode at each execution,
 * for engine_*.c, which include it first and then the sources of the handlers.
 *
 * An engine defines STEP_NEXT(), how a routine ends, and STEP_DISPATCH(routine).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_STEP_WORDS_H
#define RESPIN_PROFILER_STEP_WORDS_H

#define STEP_ENGINE 1
#define LINKAGE static __attribute__((unused))
#define TABLE static __attribute__((unused))

#define NEXT(slots) STEP_NEXT()
#define MAKE_RAW() return h_step_raw(cpu, op, fa, fb, kind)
#define SITE (cpu->step.site)
#define TARGET_LINK(target) (target)->pc
#define GO(link)                                                                                   \
    do {                                                                                           \
        cpu->pc = (U64)(uintptr_t)(link);                                                          \
        return h_step_go(cpu, op, fa, fb, kind);                                                   \
    } while (0)

#include "profiler/bodies.h"
#include "profiler/model.h"
#include "profiler/step.h"

static Handler h_step_raw, h_step_go, h_step_fall, h_step_edge, h_indirect_miss, h_return_miss;

/* Declares `name` as the 8 bytes of code at `address`: a guest access, precise on a fault. */
#define STEP_LOAD(name, address)                                                                   \
    U64 name;                                                                                      \
    do {                                                                                           \
        register U64 kind_ __asm__("r8") = kind;                                                   \
        __asm__ volatile(ACCESS("movq %[m], %[v]")                                                 \
                         : [v] "=r"(name)                                                          \
                         : [m] "m"(*(const U64 *)(address)), PINNED(kind_)                         \
                         : "memory");                                                              \
    } while (0)

/* The next instruction: fetched, decoded, dispatched. */
#define STEP_ON()                                                                                  \
    do {                                                                                           \
        U64 pc_ = cpu->step.next;                                                                  \
        if (UNLIKELY(pc_ >= cpu->step.end))                                                        \
            return h_step_fall(cpu, op, fa, fb, kind);                                             \
        cpu->step.pc = pc_;                                                                        \
        if (UNLIKELY((pc_ & (STEP_PAGE - 1)) > STEP_PAGE - STEP_FETCH))                            \
            return h_step_edge(cpu, op, fa, fb, kind);                                             \
        STEP_LOAD(low_, pc_ + cpu->step.view);                                                     \
        STEP_LOAD(high_, pc_ + cpu->step.view + 8);                                                \
        STEP_DISPATCH(step_decode(cpu, low_, high_));                                              \
    } while (0)

#endif

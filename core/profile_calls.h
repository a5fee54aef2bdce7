/*
 * Functions of all modules of a profile, the calls between them, and what a call costs with all
 * that it leads to.
 *
 * A profile knows how often each call was made, not which part of a callee's cost each caller
 * caused. Inclusive costs are therefore shares: of a function with all its callees, each caller has
 * the part that its calls are of all calls. That is exact where a function has one caller, or costs
 * the same whoever calls it. Functions that call each other in a circle are one for this: who
 * enters the circle bears its cost, calls inside it cost nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_PROFILE_CALLS_H
#define RESPIN_CORE_PROFILE_CALLS_H

#include "core/profile.h"

/* A run of neighbouring blocks of one function. */
typedef struct CallPart {
    uint32_t func;   /* index in CallGraph.funcs */
    uint32_t module; /* in the profile */
    uint32_t first;  /* block of the module */
    uint32_t end;    /* block behind the last */
} CallPart;

typedef struct CallFunc {
    const char *name;
    uint32_t module;    /* MODULE_NONE: generated code */
    Vaddr start;        /* of the symbol, else of its first block */
    uint64_t self;      /* instructions executed in it */
    uint64_t inclusive; /* with its callees; inside a circle: that of the whole circle */
    uint64_t entered;   /* calls from outside its circle, known or not */
    uint32_t circle;    /* equal for functions that call each other in a circle */
    uint32_t first_arc; /* in CallGraph.arcs; they are sorted by `from` */
    uint32_t n_arcs;
} CallFunc;

typedef struct CallArc {
    uint32_t from; /* function */
    uint32_t to;
    Vaddr site;   /* the calling instruction */
    Vaddr target; /* where it leads */
    uint64_t count;
    uint64_t cost; /* inclusive, of all its calls; 0 inside a circle */
} CallArc;

typedef struct CallGraph {
    CallFunc *funcs; /* sorted by module, then start */
    uint32_t n_funcs;
    CallPart *parts; /* sorted by module, then address */
    uint32_t n_parts;
    CallArc *arcs; /* sorted by from, site, target */
    uint32_t n_arcs;
    uint32_t
        *order; /* functions, callees before their callers but for circles, which are together */
    uint64_t total; /* instructions of the whole profile */
} CallGraph;

/*
 * Result in `arena`. Names come from the modules' files where those are still the ones that ran;
 * where not, functions are ranges of blocks. A jump into another function is a call, and a `.cold`
 * part belongs to its function.
 */
void profile_calls(Arena *arena, const Profile *profile, CallGraph *out);

/* `cost` times `part` over `whole`; 0 when there is no whole. */
uint64_t calls_share(uint64_t cost, uint64_t part, uint64_t whole);

#endif

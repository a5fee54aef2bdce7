/*
 * What the whole module says about the inside of its functions: who jumps there, and which of its
 * addresses something forms.
 *
 *     jumps   direct branches between unwind entries, and calls to no entry's start
 *     formed  addresses of code that relocations (position-independent images) or words of data and
 *             immediates (fixed images) hold
 *     no_return, ends  functions of the module, and imports, that never return
 *     inward  the profile's edges, sorted by where they lead
 *
 * One scan over all unwind entries with the fast decoder; a scan stops at bytes that do not decode
 * and goes on at the next entry.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_MODULE_REFS_H
#define RESPIN_OPTIMIZER_MODULE_REFS_H

#include "core/insn.h"
#include "core/profile.h"
#include "core/unwind.h"

typedef struct CrossJump {
    Vaddr to;
    Vaddr from;   /* the branch */
    uint32_t fde; /* of `from` */
    bool call;    /* a direct call that leads to no entry's start */
} CrossJump;

typedef struct ModuleRefs {
    CrossJump *jumps; /* sorted by to, then from */
    uint32_t n_jumps;
    bool *no_return; /* by unwind entry: its code has no way back to a caller */
    bool *called;    /* by unwind entry: a direct call leads to its start */
    Vaddr *formed;   /* sorted, no doubles */
    uint32_t n_formed;
    Vaddr *ends; /* linkage stubs and slots of imports that never return; sorted */
    uint32_t n_ends;
    const ProfileEdge **inward; /* edges and entries that lead into this module, sorted by to */
    uint32_t n_inward;
} ModuleRefs;

/* `module`: index of `counts` (may be NULL: no profile) in its profile. Result: in `arena`. */
const ModuleRefs *module_refs_read(Arena *arena, const Image *image, const UnwindTable *unwind,
                                   const ProfileModule *counts, uint32_t module);

/* True when the callee of a direct call, or of a call through a slot, never returns. */
bool module_refs_ends(const ModuleRefs *refs, const UnwindTable *unwind, const Insn *call);

/* The first of the jumps with `to` >= addr. */
uint32_t module_refs_jump_from(const ModuleRefs *refs, Vaddr addr);
/* The first formed address >= addr. */
uint32_t module_refs_formed_from(const ModuleRefs *refs, Vaddr addr);
/* The first inward edge with `to` >= addr. */
uint32_t module_refs_inward_from(const ModuleRefs *refs, Vaddr addr);

#endif

/*
 * Which bytes of the original may be overwritten by a jump (law 1).
 *
 * A proof object knows, for every byte of the executable segments, whether some control transfer
 * may arrive there. It is filled once per module, and once per function and its neighbours with
 * what only a real decode or the function's own model can tell.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_PATCH_SITES_H
#define RESPIN_OPTIMIZER_PATCH_SITES_H

#include "optimizer/passes.h"

typedef struct PatchProof PatchProof;

enum { PATCH_SIZE = 5 }; /* bytes of a jmp rel32 */

/*
 * Collects what the whole module tells about possible targets:
 * - rel32 branches and xbegin at every byte of code, and rip-relative lea likewise;
 * - relocation addends and values, all symbols, the entry point, DT_INIT and DT_FINI;
 * - every target in the profile;
 * - in fixed images every 4-byte value at any offset of the file that lies in code.
 */
PatchProof *patch_proof_new(Arena *arena, const Image *image, const UnwindTable *unwind,
                            const ProfileModule *counts, uint32_t module);

/* Adds the function's entries, landing pads, table targets, observed and escaping blocks, and the
 * short branches of its code and of all code near enough to reach it. */
void patch_proof_add_func(PatchProof *proof, const Func *fn);

/* True when a control transfer may arrive at `addr` (an address in code). */
bool patch_proof_is_target(const PatchProof *proof, Vaddr addr);

typedef struct PatchSite {
    Vaddr addr;
    uint32_t size;    /* bytes of whole instructions, at least PATCH_SIZE */
    uint32_t to_insn; /* of the block: 1 after an endbr64, else 0 */
    uint32_t n_over;  /* blocks after the first one whose start the site overwrites */
    BlockId over[PATCH_SIZE - 1];
} PatchSite;

/*
 * The site at the start of a block.
 *
 * every_start: any instruction start of the function is a possible target
 * (patch_needs_every_start). Result: false, and *why (REFUSED_SITE_SHORT or REFUSED_SITE_DATA). The
 * blocks in `over` are reached from the site only; side exits may not lead to them.
 */
bool patch_site_find(const PatchProof *proof, const Func *fn, BlockId block, bool every_start,
                     PatchSite *out, Refusal *why);

/* True when the function has an indirect jump whose target no table proves and which does
 * arithmetic on what it jumps to, so that the closure of law 1 does not bound it. */
bool patch_needs_every_start(const Func *fn);

#endif

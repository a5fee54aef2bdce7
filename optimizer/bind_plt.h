/*
 * Calls through the procedure linkage table that end in this module: bound to the overlay copy
 * behind a guard, so that interposition works as before and neither the stub's indirect jump nor
 * the bounce from the patched entry is paid.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_BIND_PLT_H
#define RESPIN_OPTIMIZER_BIND_PLT_H

#include "optimizer/passes.h"

/*
 * Reads the stub at `at`: [endbr64] [bnd] jmp *slot(%rip), the slot relocated to a function symbol
 * that this image defines itself. False: anything else. slot, function: link-time addresses.
 */
bool plt_stub_read(const Image *image, Vaddr at, Vaddr *slot, Vaddr *function);

/* Makes the guards of all stubs that placed code calls, and plan->binds, sorted by stub. After the
 * pipeline, before regions are ordered. */
void bind_plt(Context *ctx, Plan *plan);

/* The bind whose stub is called at `stub`; NULL: none. */
const Bind *plan_bind_at(const Plan *plan, Vaddr stub);

#endif

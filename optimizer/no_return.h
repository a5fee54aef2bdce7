/*
 * Which functions never return. Filled into ModuleRefs once per module.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_NO_RETURN_H
#define RESPIN_OPTIMIZER_NO_RETURN_H

#include "optimizer/module_refs.h"

/* refs->no_return holds what each entry's own code says; takes back what jumps to others undo. */
void no_return_settle(const UnwindTable *unwind, ModuleRefs *refs);

/* Fills refs->ends: linkage stubs and slots of imports that never return, by name. */
void no_return_imports(Arena *arena, const Image *image, ModuleRefs *refs);

#endif

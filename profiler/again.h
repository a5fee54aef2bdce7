/*
 * again.h: flags that are lost to a counter and made again by the compare that made them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_AGAIN_H
#define RESPIN_PROFILER_AGAIN_H

#include "profiler/emit.h"
#include "profiler/trace.h"

/*
 * The instruction on the path that made the flags at the end of block `i`, if they can be made
 * again there: it reads registers only, which are unchanged since. NULL: they cannot.
 */
const GuestInsn *again_find(const Path *path, uint32_t i);
/* Makes them: no register and no memory is written. */
void again_emit(Code *code, const GuestInsn *insn);

#endif

/*
 * fused.h: a compare and the conditional jump behind it, as one record.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_FUSED_H
#define RESPIN_PROFILER_FUSED_H

#include "profiler/decode.h"

/* The handler for `insn` with the `jump` behind it; NULL: there is none for the two. */
Handler *fused_handler(const GuestInsn *insn, const GuestInsn *jump);

#endif

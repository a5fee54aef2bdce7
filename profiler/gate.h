/*
 * gate.h: the only way from the VM core into library code.
 *
 * A library may use vector registers and FS (stack protector), which are the guest's. The gate
 * saves vector state, points FS at a private block, calls, and puts both back. It costs some 400
 * ns, so it is passed once per decoded block. code_lock is held: there is one save area.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_GATE_H
#define RESPIN_PROFILER_GATE_H

void gate_init(void);
void gate_call(void (*work)(void *), void *argument);

#endif

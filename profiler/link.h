/*
 * link.h: jumps from translated code to traces.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_LINK_H
#define RESPIN_PROFILER_LINK_H

#include "profiler/translate.h"

/* All under code_lock. */

/* The jump at `field` leads to the entry of `trace`. */
void link_note(Trace *trace, uint8_t *field);
/* Makes the jump at `field`, which is to guest address `pc` by way of `from` (Trace.from), lead to
 * `trace`; NULL: to the VM, until there is one. False: no room for what that takes. */
bool link_lead(uint8_t *field, Trace *trace, uint64_t pc, uint32_t from);
/* All that led to `old` leads to `made`. */
void link_supersede(Trace *old, Trace *made);
/* A new trace: what waits for it leads there. */
void link_open(Trace *trace);
/* All that leads to `trace` leads to another one with its head, or to the VM. False: not all, no
 * room for what that takes. */
bool link_lead_elsewhere(Trace *trace);
/* Jumps that lie in [start, end) are no more. */
void link_drop_fields(const uint8_t *start, const uint8_t *end);

#endif

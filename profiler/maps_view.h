/*
 * maps_view.h: /proc/self/maps and /proc/self/smaps without what is the VM's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_MAPS_VIEW_H
#define RESPIN_PROFILER_MAPS_VIEW_H

#include <stdbool.h>
#include <stdint.h>

/* The guest string at `path` names this process's list of mappings. */
bool maps_view_is_wanted(uint64_t path);
/*
 * The descriptor `fd`, just opened on such a list, becomes one of a list without the VM's mappings,
 * as they are now. Where that cannot be made, it stays what it is.
 */
void maps_view_replace(int64_t fd);

#endif

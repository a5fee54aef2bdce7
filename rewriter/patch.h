/*
 * Jumps written over original instructions.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_PATCH_H
#define RESPIN_REWRITER_PATCH_H

#include "rewriter/overlay.h"

/* Writes all patches of the plan into the output's bytes. Errors: ST_BUG. */
MUST_CHECK Status patches_apply(const Overlay *overlay, uint8_t *data, size_t len, Error *err);

#endif

/*
 * refusals.c: the rows of optimizer/refusals.h, and how a pass refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/passes.h"

#include <stdarg.h>
#include <stdio.h>

enum { WHY_MAX = 160 };

#define REFUSAL_ROW(id, name, scope, sentence) [REFUSED_##id] = { name, REFUSE_##scope, sentence },
const RefusalRow refusal_rows[REFUSED_COUNT] = { { "", REFUSE_FUNC, "" }, REFUSALS(REFUSAL_ROW) };

Status refuse(Func *fn, Refusal reason, const char *format, ...)
{
    char text[WHY_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fn->refused = reason;
    fn->why = arena_string(fn->arena, text);
    return ST_OK;
}

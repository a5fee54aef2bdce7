/* list.c: the instruction forms as text, for `respin --list-forms`. SPDX-License-Identifier: MIT */
#include "rewriter/move.h"
#include "rewriter/rewriter.h"

#include <string.h>

void rewriter_list_forms(Buffer *out)
{
    for (int i = 0; i < FORM_COUNT; i++) {
        const char *parts[] = { move_rows[i].form,  "\t", move_rows[i].source, "\t",
                                move_rows[i].proof, "\n" };
        for (size_t j = 0; j < sizeof parts / sizeof parts[0]; j++)
            buffer_put(out, parts[j], strlen(parts[j]));
    }
}

/* list.c: the pipeline as text, for `respin --list-passes`. SPDX-License-Identifier: MIT */
#include "optimizer/passes.h"

#include <string.h>

static const struct {
    Facts fact;
    const char *name;
} fact_names[] = {
    { FACT_CODE, "code" },     { FACT_CFG, "cfg" },       { FACT_TABLES, "tables" },
    { FACT_COUNTS, "counts" }, { FACT_PLACED, "placed" }, { FACT_LAYOUT, "layout" },
};

static void put_text(Buffer *out, const char *text)
{
    buffer_put(out, text, strlen(text));
}

/* The names of the facts; "-" for none. */
static void put_facts(Buffer *out, Facts facts)
{
    const char *joint = "";
    put_text(out, "\t");
    for (size_t i = 0; i < sizeof fact_names / sizeof fact_names[0]; i++) {
        if ((facts & fact_names[i].fact) == 0)
            continue;
        put_text(out, joint);
        put_text(out, fact_names[i].name);
        joint = " ";
    }
    if (facts == 0)
        put_text(out, "-");
}

void optimizer_list_passes(Buffer *out)
{
    for (size_t i = 0; i < n_pipeline; i++) {
        put_text(out, pipeline[i].name);
        put_facts(out, pipeline[i].needs);
        put_facts(out, pipeline[i].gives);
        put_facts(out, pipeline[i].breaks);
        put_text(out, "\n");
    }
}

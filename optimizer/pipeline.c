/*
 * pipeline.c: the passes, in the order in which they run. There is no other list.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/passes.h"

// clang-format off
const Pass pipeline[] = {
    /* name              run               needs                                   gives         breaks */
    { "build-cfg",       build_cfg,        FACT_CODE,                              FACT_CFG,     0           },
    { "find-tables",     find_tables,      FACT_CODE | FACT_CFG,                   FACT_TABLES,  0           },
    { "attach-counts",   attach_counts,    FACT_CFG | FACT_TABLES,                 FACT_COUNTS,  0           },
    { "place-blocks",    place_blocks,     FACT_CFG | FACT_TABLES | FACT_COUNTS,   FACT_PLACED,  0           },
    { "clone-tables",    clone_tables,     FACT_CFG | FACT_TABLES | FACT_PLACED,   0,            0           },
    { "order-blocks",    order_blocks,     FACT_CFG | FACT_COUNTS | FACT_PLACED,   FACT_LAYOUT,  0           },
    { "form-superblocks", form_superblocks, FACT_COUNTS | FACT_PLACED | FACT_LAYOUT, 0,          FACT_LAYOUT },
    { "order-again",     order_blocks,     FACT_CFG | FACT_COUNTS | FACT_PLACED,   FACT_LAYOUT,  0           },
    { "align-loops",     align_loops,      FACT_CFG | FACT_COUNTS | FACT_LAYOUT,   0,            0           },
};
// clang-format on

const size_t n_pipeline = sizeof pipeline / sizeof *pipeline;

/*
 * What tables.c (search) and tables_read.c (bytes) share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_OPTIMIZER_TABLES_H
#define RESPIN_OPTIMIZER_TABLES_H

#include "optimizer/passes.h"
#include "optimizer/values.h"

/* Where control may arrive with unknown registers, besides the entries that are known. */
typedef enum World {
    WORLD_CLOSED,   /* nowhere */
    WORLD_OBSERVED, /* where the profile saw a jump without a table go */
    WORLD_FORMED,   /* at blocks whose address something forms */
    WORLD_ANY,      /* at any block */
} World;

enum { TABLE_LOOSE_MAX = 256 };

/* One indirect jump. */
typedef struct TableSite {
    Vaddr addr;
    Value value; /* what it jumps to; of a spoilt site, the table once believed in */
    bool proven;
    bool spoilt; /* proven once, and then not */
} TableSite;

typedef struct Finder {
    Context *ctx;
    Func *fn;
    TableSite *sites;
    uint32_t n_sites;
    size_t cap_sites;
    size_t cap_tables;
} Finder;

/* True when `value` is a target out of a table whose bounds are known and whose bytes cannot
 * change. A table of more than TABLE_LOOSE_MAX entries must also lead nowhere but into the
 * function: a bound that comes from the width of the index alone says nothing about the table. */
bool table_is_proven(const Image *image, const Func *fn, const Value *value);

/* Reads the entries that `value` says; a table that has more of them keeps them. */
void table_read(const Image *image, Arena *arena, const Value *value, Table *table);

/* Table.fallback of tables with entries that are no addresses. */
void tables_set_fallbacks(Func *fn);

#endif

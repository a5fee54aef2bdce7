/*
 * The functions of an image by address, each with the name that people know and the name that BOLT
 * gives it.
 *
 * Sources, in order: function symbols of .symtab (of the dynamic table in stripped files), entries
 * of procedure linkage tables, unwind entries. Extents do not overlap.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_FUNC_NAMES_H
#define RESPIN_CORE_FUNC_NAMES_H

#include "core/image.h"

typedef struct FuncName {
    Vaddr start;
    uint64_t end;     /* address behind it */
    const char *name; /* symbol, "printf@plt", or "0x1000-0x1200" */
    const char *bolt; /* NULL: BOLT has no name for it */
} FuncName;

/* A name by which a BOLT profile may call an address. */
typedef struct FuncAlias {
    const char *name;
    Vaddr addr;
} FuncAlias;

typedef struct FuncNames {
    FuncName *funcs; /* sorted by start */
    uint32_t n;
    FuncAlias *aliases; /* sorted by name */
    uint32_t n_aliases;
    bool stripped; /* no .symtab */
} FuncNames;

/* Result in `arena`; names of symbols are borrowed from the image. Never fails: a table that cannot
 * be read gives no names. */
void func_names_read(Arena *arena, const Image *image, FuncNames *out);

/* The function that covers `addr`; NULL: none. */
const FuncName *func_names_at(const FuncNames *names, Vaddr addr);
/* The address that BOLT calls `name`; VADDR_NONE: none. */
Vaddr func_names_find(const FuncNames *names, const char *name);

#endif

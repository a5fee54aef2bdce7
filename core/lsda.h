/*
 * Language-specific data areas as gcc, clang and rustc write them (Itanium C++ ABI, exception
 * handling tables): call sites, landing pads, actions, types.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_LSDA_H
#define RESPIN_CORE_LSDA_H

#include "core/unwind.h"

typedef struct LsdaSite {
    Vaddr start;
    uint64_t size;
    Vaddr landing_pad; /* VADDR_NONE: none (unwinding goes on) */
    uint64_t action;   /* 0: cleanup or none; else 1 + byte offset in the action table */
} LsdaSite;

typedef struct Lsda {
    Vaddr addr;
    Vaddr landing_base;    /* LPStart, explicit or the function's start */
    uint8_t type_encoding; /* DW_EH_PE_omit: no type table */
    uint8_t site_encoding;
    LsdaSite *sites; /* in table order */
    uint32_t n_sites;
    Bytes actions; /* action table, as in the file, up to the highest action used */
    Vaddr actions_addr;
    Vaddr types_end;  /* TTBase: type i is at types_end - i * size; VADDR_NONE: none */
    uint32_t n_types; /* highest type index that an action names */
    Bytes filters;    /* exception specification tables that negative filters name */
    uint64_t size;    /* bytes in all */
} Lsda;

/*
 * Reads the LSDA of an FDE.
 *
 * Result: in `arena`. Set on errors too: then it holds the call sites read before the fault, for
 * who must know every possible landing pad. Errors: ST_BAD_INPUT with section and offset;
 * ST_REFUSED `lsda-dynreloc` when a type word bears a dynamic relocation, or when an encoding is
 * not known.
 */
MUST_CHECK Status lsda_read(Arena *arena, const Image *image, const Fde *fde, const Lsda **out,
                            Error *err);

#endif

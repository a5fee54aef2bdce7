/*
 * Call frame information: .eh_frame read into CIEs and FDEs, and the unwind row at any address.
 *
 * Format: DWARF 5 section 6.4, LSB Core "Exception Frames". Reads whole tables; a malformed entry
 * is ST_BAD_INPUT with its offset.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_UNWIND_H
#define RESPIN_CORE_UNWIND_H

#include "core/image.h"

typedef struct Cie {
    uint64_t offset; /* in .eh_frame */
    const char *augmentation;
    uint64_t code_align;
    int64_t data_align;
    uint64_t return_reg;
    uint8_t fde_encoding;         /* DW_EH_PE_* of FDE addresses */
    uint8_t lsda_encoding;        /* DW_EH_PE_omit: none */
    uint8_t personality_encoding; /* DW_EH_PE_omit: none */
    Vaddr personality; /* link-time address (of the slot, when indirect); VADDR_NONE: none */
    bool is_signal;    /* 'S' */
    bool has_fde_data; /* 'z' */
    Bytes program;     /* initial instructions */
} Cie;

typedef struct Fde {
    uint64_t offset; /* in .eh_frame */
    uint32_t cie;    /* index in UnwindTable.cies */
    Vaddr start;
    uint64_t size;
    Vaddr lsda; /* VADDR_NONE: none */
    Bytes program;
} Fde;

typedef struct UnwindTable {
    Vaddr addr; /* of .eh_frame */
    Bytes bytes;
    Cie *cies;
    uint32_t n_cies;
    Fde *fdes; /* sorted by start; empty ones (size 0) left out */
    uint32_t n_fdes;
} UnwindTable;

/*
 * Reads .eh_frame (by section name, else through PT_GNU_EH_FRAME).
 *
 * Result: in `arena`. An image without one is ST_OK with n_fdes 0.
 * Errors: ST_BAD_INPUT with the offset of the entry; ST_REFUSED for an augmentation, a pointer
 *         encoding or a version that is not known, and for words with dynamic relocations.
 */
MUST_CHECK Status unwind_read(Arena *arena, const Image *image, const UnwindTable **out,
                              Error *err);

/* The FDE that covers `addr`; NULL: none. */
const Fde *unwind_fde_at(const UnwindTable *table, Vaddr addr);

/* How a register, or the CFA, is found. */
typedef enum CfaRuleKind {
    RULE_NONE, /* nothing was said: the ABI's default (same; rsp: is the CFA) */
    RULE_UNDEFINED,
    RULE_SAME,
    RULE_OFFSET,     /* saved at CFA + value */
    RULE_VAL_OFFSET, /* is CFA + value */
    RULE_REG,        /* in register `value` */
    RULE_EXPR,       /* saved at the address that `expr` computes */
    RULE_VAL_EXPR,   /* is what `expr` computes */
    RULE_CFA_REG,    /* the CFA only: register `reg` + value; else RULE_VAL_EXPR or RULE_NONE */
} CfaRuleKind;

typedef struct UnwindRule {
    uint8_t kind; /* CfaRuleKind */
    uint16_t reg;
    int64_t value;
    Bytes expr; /* borrowed from the image */
} UnwindRule;

enum { UNWIND_REGS = 17 }; /* DWARF numbers 0..16 (16 = return address) */

typedef struct UnwindRow {
    UnwindRule cfa;
    UnwindRule regs[UNWIND_REGS];
    uint64_t args_size; /* DW_CFA_GNU_args_size */
    bool regs_beyond;   /* a rule for a register over 16 exists: such functions are refused */
} UnwindRow;

/* The rows of one FDE: row i holds for [at[i], at[i+1]). */
typedef struct UnwindRows {
    Vaddr *at;
    UnwindRow *rows;
    uint32_t n;
} UnwindRows;

/*
 * Runs the FDE's program (core/unwind_rows.c). rows[0] holds at fde->start; equal neighbours are
 * one.
 *
 * Errors: ST_BAD_INPUT; ST_REFUSED for an opcode that is not known; both with the offset of the
 * entry.
 */
MUST_CHECK Status unwind_rows(Arena *arena, const Image *image, const UnwindTable *table,
                              const Fde *fde, UnwindRows *out, Error *err);
/* The row that a CIE's initial instructions make. */
MUST_CHECK Status unwind_initial_row(const Image *image, const UnwindTable *table, const Cie *cie,
                                     UnwindRow *out, Error *err);
/* Index of the row for `addr`; rows->n when outside. */
uint32_t unwind_row_at(const UnwindRows *rows, Vaddr addr);
bool unwind_row_equal(const UnwindRow *left, const UnwindRow *right);

/*
 * Whether code under `fde` can run at another address with rows copied to it (core/unwind_carry.c).
 * The optimizer asks before it places a function; so rewriter/unwind.c need not refuse.
 *
 * Errors: ST_REFUSED with what stands against it; ST_BAD_INPUT.
 */
MUST_CHECK Status unwind_can_carry(const Image *image, const UnwindTable *table, const Fde *fde,
                                   Error *err);

#endif

/*
 * Lazy flags. A producer leaves a kind and two words; consumers take what they need from them.
 *
 *   kind            a                          b
 *   FLAGS_SUB       left operand               right operand      flags of a - b
 *                   (and or xor test: the result and 0: compare with 0 gives the same flags)
 *   FLAGS_RAW       flags word: lahf's AH in bits 8-15, overflow in bit 0
 *   FLAGS_ADD       result                     right operand
 *   FLAGS_INC/DEC   result                     carry, kept from before (0 or 1)
 *   FLAGS_SHL       result                     operand shifted by one less
 *   FLAGS_SHR/SAR   result                     operand shifted by one less
 *   FLAGS_RES       result (64-bit)            carry in bit 0, overflow in bit 11, adjust in bit 4
 *
 * Operands are sign-extended to 64 bits. Sign extension keeps both orders, so every condition of a
 * compare but sign, overflow and parity is one 64-bit compare whatever the size; carry of an
 * addition is `result < b` at every size too. Four kinds (8, 16, 32, 64 bits) follow each name.
 * Evidence: field-notes section 5; the order below makes "is it a compare" one comparison.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_FLAGS_H
#define RESPIN_PROFILER_FLAGS_H

#include <stdint.h>

#define FLAGS_SIZES(name) name##8, name##16, name##32, name##64

enum FlagKind {
    FLAGS_SIZES(FLAGS_SUB),
    FLAGS_RAW,
    FLAGS_SIZES(FLAGS_ADD),
    FLAGS_SIZES(FLAGS_INC),
    FLAGS_SIZES(FLAGS_DEC),
    FLAGS_SIZES(FLAGS_SHL),
    FLAGS_SIZES(FLAGS_SHR),
    FLAGS_SIZES(FLAGS_SAR),
    FLAGS_RES,
};

/* Bits of the raw word. */
enum {
    RAW_OF = 1 << 0,
    RAW_CF = 1 << 8,
    RAW_PF = 1 << 10,
    RAW_AF = 1 << 12,
    RAW_ZF = 1 << 14,
    RAW_SF = 1 << 15,
};

/* Bits of RFLAGS. */
enum {
    RFLAGS_CF = 1 << 0,
    RFLAGS_PF = 1 << 2,
    RFLAGS_AF = 1 << 4,
    RFLAGS_ZF = 1 << 6,
    RFLAGS_SF = 1 << 7,
    RFLAGS_DF = 1 << 10,
    RFLAGS_OF = 1 << 11,
    RFLAGS_ARITH = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF,
    RFLAGS_AC = 1 << 18,
    RFLAGS_ID = 1 << 21,
};

/* The raw word of any lazy state. Undefined flags: adjust and long-shift overflow are 0. */
uint64_t flags_raw(uint64_t kind, uint64_t fa, uint64_t fb);

static inline uint64_t rflags_of_raw(uint64_t raw)
{
    return ((raw >> 8) & (RFLAGS_ARITH & 0xff)) | ((raw & RAW_OF) << 11);
}

static inline uint64_t raw_of_rflags(uint64_t rflags)
{
    return ((rflags & 0xff) << 8) | ((rflags >> 11) & 1);
}

#endif

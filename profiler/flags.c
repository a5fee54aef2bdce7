/*
 * flags.c: the slow and complete side of lazy flags: from any kind to the six flags.
 *
 * Handlers answer the common conditions themselves; what they cannot answer at once is turned into
 * the raw word here, after which every condition is a bit test.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/flags.h"

static uint64_t raw_parity(uint64_t result)
{
    uint64_t fold = (result ^ (result >> 4)) & 15;
    return ((0x9669u >> fold) & 1) != 0 ? RAW_PF : 0; /* bit n: n has an even number of ones */
}

static uint64_t raw_result(uint64_t result)
{
    return (result == 0 ? (uint64_t)RAW_ZF : 0) | ((int64_t)result < 0 ? (uint64_t)RAW_SF : 0) |
           raw_parity(result);
}

static uint64_t extend(uint64_t value, unsigned bits)
{
    return (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
}

static uint64_t raw_bits(uint64_t carry, uint64_t adjust, uint64_t overflow)
{
    return (carry != 0 ? (uint64_t)RAW_CF : 0) | (adjust != 0 ? (uint64_t)RAW_AF : 0) |
           (overflow != 0 ? (uint64_t)RAW_OF : 0);
}

static uint64_t raw_sub(uint64_t a, uint64_t b, unsigned bits)
{
    uint64_t result = extend(a - b, bits);
    uint64_t overflow = (((a ^ b) & (a ^ result)) >> (bits - 1)) & 1;
    return raw_result(result) | raw_bits(a < b, (a ^ b ^ result) & 16, overflow);
}

static uint64_t raw_add(uint64_t result, uint64_t b, unsigned bits)
{
    uint64_t a = extend(result - b, bits);
    uint64_t overflow = (((result ^ a) & (result ^ b)) >> (bits - 1)) & 1;
    return raw_result(result) | raw_bits(result < b, (a ^ b ^ result) & 16, overflow);
}

static uint64_t raw_inc(uint64_t result, uint64_t carry, unsigned bits)
{
    uint64_t least = ~UINT64_C(0) << (bits - 1);
    return raw_result(result) | raw_bits(carry & 1, (result & 15) == 0, result == least);
}

static uint64_t raw_dec(uint64_t result, uint64_t carry, unsigned bits)
{
    uint64_t most = ~(~UINT64_C(0) << (bits - 1));
    return raw_result(result) | raw_bits(carry & 1, (result & 15) == 15, result == most);
}

/* SDM vol. 2B SAL/SAR/SHL/SHR: carry is the last bit out; overflow is defined for a count of 1. */
static uint64_t raw_shl(uint64_t result, uint64_t before_last, unsigned bits)
{
    uint64_t carry = (before_last >> (bits - 1)) & 1;
    return raw_result(result) | raw_bits(carry, 0, carry ^ (result >> 63));
}

static uint64_t raw_shr(uint64_t result, uint64_t before_last, unsigned bits)
{
    return raw_result(result) | raw_bits(before_last & 1, 0, (before_last >> (bits - 1)) & 1);
}

static uint64_t raw_sar(uint64_t result, uint64_t before_last, unsigned bits)
{
    (void)bits;
    return raw_result(result) | raw_bits(before_last & 1, 0, 0);
}

uint64_t flags_raw(uint64_t kind, uint64_t fa, uint64_t fb)
{
    if (kind == FLAGS_RAW)
        return fa;
    if (kind == FLAGS_RES)
        return raw_result(fa) | raw_bits(fb & RFLAGS_CF, fb & RFLAGS_AF, fb & RFLAGS_OF);
    if (kind < FLAGS_RAW)
        return raw_sub(fa, fb, 8u << kind);
    unsigned bits = 8u << ((kind - FLAGS_ADD8) & 3);
    switch ((kind - FLAGS_ADD8) >> 2) {
    case 0:
        return raw_add(fa, fb, bits);
    case 1:
        return raw_inc(fa, fb, bits);
    case 2:
        return raw_dec(fa, fb, bits);
    case 3:
        return raw_shl(fa, fb, bits);
    case 4:
        return raw_shr(fa, fb, bits);
    default:
        return raw_sar(fa, fb, bits);
    }
}

/*
 * handler.h: the words that handlers are written in. Included by handlers*.c only.
 *
 *   HANDLER(name) { ... NEXT(slots); }   a handler; its code stands in section interp_text
 *   REG(bits, off) / SET_REG(bits, off)  a guest register, read sign-extended / written as the CPU
 * does LOAD / STORE                         one guest memory access, precise on a fault
 *
 * Precise means: at the access instruction the five arguments are in their registers and no guest
 * state has changed since the record began. The access is one asm statement whose operands force
 * that; its address is listed in section interp_access, where interp_recover looks it up.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_HANDLER_H
#define RESPIN_PROFILER_HANDLER_H

#include "profiler/flags.h"
#include "profiler/record.h"

/* What differs between the engines: how a routine goes on, and whose routines these are. The
 * engines that decode at each execution have their own words (step.h), put before this file. */
#ifndef STEP_ENGINE
#define LINKAGE
#define TABLE
#define NEXT(slots) JUMP_TO(op + (slots))
/* Turns the flags into the raw word and runs the record again. */
Handler h_make_raw;
#define MAKE_RAW() return h_make_raw(cpu, op, fa, fb, kind)
#endif

#define HANDLER(name)                                                                              \
    LINKAGE __attribute__((section("interp_text"), noinline)) uint64_t name(                       \
        Cpu *cpu, __attribute__((unused)) const Op *op, uint64_t fa, uint64_t fb, uint64_t kind)
#define INLINE static inline __attribute__((always_inline))

#define JUMP_TO(record)                                                                            \
    do {                                                                                           \
        const Op *to_ = (record);                                                                  \
        return to_->run(cpu, to_, fa, fb, kind);                                                   \
    } while (0)

typedef int8_t S8;
typedef int16_t S16;
typedef int32_t S32;
typedef int64_t S64;
typedef uint8_t U8;
typedef uint16_t U16;
typedef uint32_t U32;
typedef uint64_t U64;

#define REG_AT(type, off) (*(type *)(void *)((char *)cpu + (off)))
#define REG(bits, off) ((S64)REG_AT(S##bits, off))
#define UREG(bits, off) ((U64)REG_AT(U##bits, off))
#define SET_REG64(off, value) (REG_AT(U64, off) = (U64)(value))
#define SET_REG32(off, value) (REG_AT(U64, off) = (U32)(value))
/* Narrow writes merge into a 64-bit store: a later wide load then forwards from one store. */
#define SET_REG16(off, value)                                                                      \
    (REG_AT(U64, off) = (REG_AT(U64, off) & ~UINT64_C(0xffff)) | (U16)(value))
#define SET_REG8(off, value) (REG_AT(U64, off) = (REG_AT(U64, off) & ~UINT64_C(0xff)) | (U8)(value))
#define SET_REG(bits, off, value) SET_REG##bits(off, value)

/* Effective addresses of the four operand modes. */
#define ADDRESS_b (REG_AT(U64, op->b) + (U64)(S64)op->imm)
#define ADDRESS_x (REG_AT(U64, op->b) + REG_AT(U64, op->c) * op->d + (U64)(S64)op->imm)
#define ADDRESS_a (op[1].word[0])
#define ADDRESS_f ADDRESS_x
#define SEGMENT_b ""
#define SEGMENT_x ""
#define SEGMENT_a ""
#define SEGMENT_f "%%fs:"
/* Slots of a record that has a memory operand and no immediate. */
#define SLOTS_b 1
#define SLOTS_x 1
#define SLOTS_a 2
#define SLOTS_f 1

#define ACCESS(text)                                                                               \
    "1: " text "\n\t.pushsection interp_access,\"a\",@progbits\n\t.long 1b - .\n\t.popsection"
#define PINNED(kind_) "D"(cpu), "S"(op), "d"(fa), "c"(fb), "r"(kind_)

#define MOV_LOAD8 "movsbq"
#define MOV_LOAD16 "movswq"
#define MOV_LOAD32 "movslq"
#define MOV_LOAD64 "movq"
#define MOV_ZLOAD8 "movzbl"
#define MOV_ZLOAD16 "movzwl"
#define MOV_ZLOAD32 "movl"
#define MOV_ZLOAD64 "movq"
#define ZREG8 "k"
#define ZREG16 "k"
#define ZREG32 "k"
#define ZREG64 "q"

/* Declares `name` as the S64 value of the operand, sign-extended, and `at_` as its address. */
#define LOAD(name, bits, mode)                                                                     \
    const U64 at_ = ADDRESS_##mode;                                                                \
    S64 name;                                                                                      \
    do {                                                                                           \
        register U64 kind_ __asm__("r8") = kind;                                                   \
        __asm__ volatile(ACCESS(MOV_LOAD##bits " " SEGMENT_##mode "%[m], %[v]")                    \
                         : [v] "=r"(name)                                                          \
                         : [m] "m"(*(const U##bits *)at_), PINNED(kind_)                           \
                         : "memory");                                                              \
    } while (0)

/* Declares `name` as the U64 value of the operand, zero-extended. */
#define ZLOAD(name, bits, mode)                                                                    \
    U64 name;                                                                                      \
    do {                                                                                           \
        register U64 kind_ __asm__("r8") = kind;                                                   \
        __asm__ volatile(ACCESS(MOV_ZLOAD##bits " " SEGMENT_##mode "%[m], %" ZREG##bits "[v]")     \
                         : [v] "=r"(name)                                                          \
                         : [m] "m"(*(const U##bits *)(ADDRESS_##mode)), PINNED(kind_)              \
                         : "memory");                                                              \
    } while (0)

#define STORE(value, bits, mode) STORE_AT(ADDRESS_##mode, value, bits, mode)
/* The store of a read-modify-write: to the address of the LOAD before it. */
#define STORE_BACK(value, bits, mode) STORE_AT(at_, value, bits, mode)
#define STORE_AT(address, value, bits, mode)                                                       \
    do {                                                                                           \
        register U64 kind_ __asm__("r8") = kind;                                                   \
        __asm__ volatile(ACCESS("mov %[v], " SEGMENT_##mode "%[m]")                                \
                         : [m] "=m"(*(U##bits *)(address))                                         \
                         : [v] "r"((U##bits)(value)), PINNED(kind_)                                \
                         : "memory");                                                              \
    } while (0)

/* The stack: at an address of its own. */
#define ADDRESS_top (REG_AT(U64, R_RSP * 8))
#define SEGMENT_top ""
#define ADDRESS_push (REG_AT(U64, R_RSP * 8) - 8)
#define SEGMENT_push ""
#define ADDRESS_frame (REG_AT(U64, R_RBP * 8))
#define SEGMENT_frame ""

#define SET_FLAGS(a_, b_, kind_)                                                                   \
    do {                                                                                           \
        fa = (U64)(a_);                                                                            \
        fb = (U64)(b_);                                                                            \
        kind = (kind_);                                                                            \
    } while (0)

/* A condition code is the low four bits of its opcode (SDM vol. 2A Jcc). */
enum {
    CC_O,
    CC_NO,
    CC_B,
    CC_NB,
    CC_Z,
    CC_NZ,
    CC_BE,
    CC_NBE,
    CC_S,
    CC_NS,
    CC_P,
    CC_NP,
    CC_L,
    CC_NL,
    CC_LE,
    CC_NLE
};

enum { COND_UNKNOWN = 2 };

/* Conditions with a known compare of `bits` behind them; never O, P and their opposites. */
INLINE unsigned cond_compare(unsigned cc, uint64_t fa, uint64_t fb, unsigned bits)
{
    switch (cc) {
    case CC_B:
        return fa < fb;
    case CC_NB:
        return fa >= fb;
    case CC_Z:
        return fa == fb;
    case CC_NZ:
        return fa != fb;
    case CC_BE:
        return fa <= fb;
    case CC_NBE:
        return fa > fb;
    case CC_S:
        return (int64_t)((fa - fb) << (64 - bits)) < 0;
    case CC_NS:
        return (int64_t)((fa - fb) << (64 - bits)) >= 0;
    case CC_L:
        return (int64_t)fa < (int64_t)fb;
    case CC_NL:
        return (int64_t)fa >= (int64_t)fb;
    case CC_LE:
        return (int64_t)fa <= (int64_t)fb;
    default:
        return (int64_t)fa > (int64_t)fb;
    }
}

INLINE unsigned cond_raw(unsigned cc, uint64_t raw)
{
    unsigned value;
    switch (cc >> 1) {
    case CC_O >> 1:
        value = raw & RAW_OF;
        break;
    case CC_B >> 1:
        value = (raw & RAW_CF) != 0;
        break;
    case CC_Z >> 1:
        value = (raw & RAW_ZF) != 0;
        break;
    case CC_BE >> 1:
        value = (raw & (RAW_CF | RAW_ZF)) != 0;
        break;
    case CC_S >> 1:
        value = (raw & RAW_SF) != 0;
        break;
    case CC_P >> 1:
        value = (raw & RAW_PF) != 0;
        break;
    case CC_L >> 1:
        value = ((raw >> 15) ^ raw) & 1;
        break;
    default:
        value = (((raw >> 15) ^ raw) & 1) | ((raw & RAW_ZF) != 0);
        break;
    }
    return value ^ (cc & 1);
}

/* Any state: 0 or 1, or COND_UNKNOWN where the raw word is needed. */
INLINE unsigned cond_any(unsigned cc, uint64_t fa, uint64_t fb, uint64_t kind)
{
    unsigned base = cc & ~1u;
    if (LIKELY(kind < FLAGS_RAW)) {
        if (base == CC_O || base == CC_P)
            return COND_UNKNOWN;
        return cond_compare(cc, fa, fb, base == CC_S ? 8u << kind : 64);
    }
    if (kind == FLAGS_RAW)
        return cond_raw(cc, fa);
    if (base == CC_Z)
        return (fa == 0) ^ (cc & 1);
    if (base == CC_S)
        return ((int64_t)fa < 0) ^ (cc & 1);
    if (base == CC_B && kind <= FLAGS_ADD64)
        return (fa < fb) ^ (cc & 1);
    return COND_UNKNOWN;
}

/* Tables of handlers by size, and by size and operand mode (b x a f). */
#define TABLE_R(name) TABLE Handler *const name[4] = { name##_8, name##_16, name##_32, name##_64 };
#define ROW_M(name, bits) name##_##bits##b, name##_##bits##x, name##_##bits##a, name##_##bits##f
#define TABLE_M(name)                                                                              \
    TABLE Handler *const name[16] = { ROW_M(name, 8), ROW_M(name, 16), ROW_M(name, 32),            \
                                      ROW_M(name, 64) };
#define DEF_MODES(def, name, bits)                                                                 \
    def(name, bits, b) def(name, bits, x) def(name, bits, a) def(name, bits, f)
#define DEF_SIZES_R(def, name) def(name, 8) def(name, 16) def(name, 32) def(name, 64)
#define DEF_SIZES_M(def, name)                                                                     \
    DEF_MODES(def, name, 8)                                                                        \
    DEF_MODES(def, name, 16) DEF_MODES(def, name, 32) DEF_MODES(def, name, 64)

#endif

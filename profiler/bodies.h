/*
 * bodies.h: what the handlers that are also halves of pairs do, as statements over cpu, op, fa, fb
 * and kind. Written once; handlers*.c put one body into a handler, handlers_pairs.c put two.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_BODIES_H
#define RESPIN_PROFILER_BODIES_H

#include "profiler/flow.h"
#include "profiler/handler.h"

enum { RAX = R_RAX * 8, RCX = R_RCX * 8, RDX = R_RDX * 8, RSP = R_RSP * 8, RBP = R_RBP * 8 };

/* ---- arithmetic and logic: what is computed, which flags state is left, whether it is written
 * ---- */

#define CALC_add(bits) U64 r = (U64)x + (U64)y
#define FLAG_add(bits) SET_FLAGS((S##bits)r, y, FLAGS_ADD##bits)
#define KEEP_add(write) write
#define CALC_sub(bits) U64 r = (U64)x - (U64)y
#define FLAG_sub(bits) SET_FLAGS(x, y, FLAGS_SUB##bits)
#define KEEP_sub(write) write
#define CALC_cmp(bits) (void)0
#define FLAG_cmp(bits) SET_FLAGS(x, y, FLAGS_SUB##bits)
#define KEEP_cmp(write) (void)0
#define CALC_and(bits) U64 r = (U64)x & (U64)y
#define FLAG_and(bits) SET_FLAGS((S##bits)r, 0, FLAGS_SUB##bits)
#define KEEP_and(write) write
#define CALC_or(bits) U64 r = (U64)x | (U64)y
#define FLAG_or(bits) SET_FLAGS((S##bits)r, 0, FLAGS_SUB##bits)
#define KEEP_or(write) write
#define CALC_xor(bits) U64 r = (U64)x ^ (U64)y
#define FLAG_xor(bits) SET_FLAGS((S##bits)r, 0, FLAGS_SUB##bits)
#define KEEP_xor(write) write
#define CALC_test(bits) U64 r = (U64)x & (U64)y
#define FLAG_test(bits) SET_FLAGS((S##bits)r, 0, FLAGS_SUB##bits)
#define KEEP_test(write) (void)0

/* Carry in, all flags out: the host's own adc and sbb, with their flags taken by lahf and seto. */
#define CARRY_IN()                                                                                 \
    U64 carry;                                                                                     \
    if (LIKELY(kind == FLAGS_RAW))                                                                 \
        carry = (fa >> 8) & 1;                                                                     \
    else if (kind <= FLAGS_ADD64)                                                                  \
        carry = fa < fb;                                                                           \
    else                                                                                           \
        MAKE_RAW()
#define CARRY_ASM(name, bits)                                                                      \
    U##bits sum_ = (U##bits)x;                                                                     \
    U64 raw;                                                                                       \
    __asm__("negq %[carry]\n\t" #name " %[y], %[x]\n\tmovl $0, %%eax\n\tlahf\n\tseto %%al"         \
            : [x] "+&r"(sum_), "=&a"(raw), [carry] "+&r"(carry)                                    \
            : [y] "r"((U##bits)y)                                                                  \
            : "cc");                                                                               \
    U64 r = sum_
#define CALC_adc(bits) CARRY_ASM(adc, bits)
#define FLAG_adc(bits) SET_FLAGS(raw, 0, FLAGS_RAW)
#define KEEP_adc(write) write
#define CALC_sbb(bits) CARRY_ASM(sbb, bits)
#define FLAG_sbb(bits) SET_FLAGS(raw, 0, FLAGS_RAW)
#define KEEP_sbb(write) write

#define FIRST_add (void)0
#define FIRST_sub (void)0
#define FIRST_cmp (void)0
#define FIRST_and (void)0
#define FIRST_or (void)0
#define FIRST_xor (void)0
#define FIRST_test (void)0
#define FIRST_adc CARRY_IN()
#define FIRST_sbb CARRY_IN()

#define BODY_RR(name, bits)                                                                        \
    FIRST_##name;                                                                                  \
    S64 x = REG(bits, op->a), y = REG(bits, op->b);                                                \
    CALC_##name(bits);                                                                             \
    KEEP_##name(SET_REG(bits, op->a, r));                                                          \
    FLAG_##name(bits)
#define BODY_RI(name, bits)                                                                        \
    FIRST_##name;                                                                                  \
    S64 x = REG(bits, op->a), y = op->imm;                                                         \
    CALC_##name(bits);                                                                             \
    KEEP_##name(SET_REG(bits, op->a, r));                                                          \
    FLAG_##name(bits)
#define BODY_RM(name, bits, mode)                                                                  \
    FIRST_##name;                                                                                  \
    LOAD(y, bits, mode);                                                                           \
    S64 x = REG(bits, op->a);                                                                      \
    CALC_##name(bits);                                                                             \
    KEEP_##name(SET_REG(bits, op->a, r));                                                          \
    FLAG_##name(bits)

/* ---- moves ---- */

#define BODY_MOV_RR(bits) SET_REG(bits, op->a, UREG(bits, op->b))
#define BODY_MOV_RI(bits) SET_REG(bits, op->a, (S64)op->imm)
#define BODY_MOV_RM(bits, mode)                                                                    \
    ZLOAD(value, bits, mode);                                                                      \
    SET_REG(bits, op->a, value)
#define BODY_MOV_MR(bits, mode) STORE(UREG(bits, op->a), bits, mode)
#define BODY_MOVZX_RR(bits) SET_REG64(op->a, UREG(bits, op->b))
#define BODY_MOVZX_RM(bits, mode)                                                                  \
    ZLOAD(value, bits, mode);                                                                      \
    SET_REG64(op->a, value)
#define BODY_MOVSX_RR(to, bits) SET_REG(to, op->a, REG(bits, op->b))
#define BODY_MOVSX_RM(to, bits, mode)                                                              \
    LOAD(value, bits, mode);                                                                       \
    SET_REG(to, op->a, value)
#define BODY_LEA(bits, mode) SET_REG(bits, op->a, ADDRESS_##mode)
#define BODY_ZERO(bits)                                                                            \
    SET_REG64(op->a, 0);                                                                           \
    SET_FLAGS(0, 0, FLAGS_SUB##bits)
#define BODY_PUSH()                                                                                \
    STORE(REG_AT(U64, op->a), 64, push);                                                           \
    REG_AT(U64, RSP) -= 8
#define BODY_POP()                                                                                 \
    ZLOAD(value, 64, top);                                                                         \
    REG_AT(U64, RSP) += 8;                                                                         \
    SET_REG64(op->a, value)

/* ---- shifts by n, at least 1 ---- */

#define SHIFT_shl(bits)                                                                            \
    U64 last = (U64)REG(bits, op->a) << (n - 1);                                                   \
    U64 r = last << 1;                                                                             \
    SET_REG(bits, op->a, r);                                                                       \
    SET_FLAGS((S##bits)r, last, FLAGS_SHL##bits)
#define SHIFT_shr(bits)                                                                            \
    U64 last = UREG(bits, op->a) >> (n - 1);                                                       \
    U64 r = last >> 1;                                                                             \
    SET_REG(bits, op->a, r);                                                                       \
    SET_FLAGS((S##bits)r, last, FLAGS_SHR##bits)
#define SHIFT_sar(bits)                                                                            \
    S64 last = REG(bits, op->a) >> (n - 1);                                                        \
    S64 r = last >> 1;                                                                             \
    SET_REG(bits, op->a, r);                                                                       \
    SET_FLAGS((S##bits)r, last, FLAGS_SAR##bits)

#define BODY_SHIFT_RI(name, bits)                                                                  \
    unsigned n = (unsigned)op->imm;                                                                \
    SHIFT_##name(bits)

/* ---- block ends ---- */

#define COUNT(id) (cpu->counter[(U32)(id)]++)
#ifndef STEP_ENGINE
#define SITE op /* what a call or an indirect branch is known by */
#define TARGET_LINK(target) (target)->ops
#define GO(record)                                                                                 \
    do {                                                                                           \
        const Op *go_ = (record);                                                                  \
        if (UNLIKELY(cpu->pending != 0))                                                           \
            return h_pending(cpu, go_, fa, fb, kind);                                              \
        return go_->run(cpu, go_, fa, fb, kind);                                                   \
    } while (0)
#endif

/* No branch on the condition: it indexes the links and the counters, one indirect jump follows. */
#define TAKE(cond, first)                                                                          \
    do {                                                                                           \
        U64 taken_ = (cond);                                                                       \
        cpu->counter[(U64)(U32)(first) + 1 - taken_]++;                                            \
        GO(op[1].link[taken_]);                                                                    \
    } while (0)

#define BODY_JCC(cc)                                                                               \
    unsigned cond = cond_any(CC_##cc, fa, fb, kind);                                               \
    if (UNLIKELY(cond == COND_UNKNOWN))                                                            \
        MAKE_RAW();                                                                                \
    TAKE(cond, op->imm)
#define BODY_JUMP()                                                                                \
    COUNT(op->imm);                                                                                \
    GO(op[1].link[0])

#define SHADOW_PUSH(address)                                                                       \
    do {                                                                                           \
        U32 top_ = (cpu->shadow_top + 1) & (SHADOW_SLOTS - 1);                                     \
        cpu->shadow_top = top_;                                                                    \
        cpu->shadow[top_].return_to = (address);                                                   \
        cpu->shadow[top_].call = SITE;                                                             \
    } while (0)

#define BODY_CALL()                                                                                \
    U64 back = op[2].word[0];                                                                      \
    STORE(back, 64, push);                                                                         \
    REG_AT(U64, RSP) -= 8;                                                                         \
    SHADOW_PUSH(back);                                                                             \
    COUNT(op->imm);                                                                                \
    GO(op[1].link[0])

/* ---- indirect branches: a thread-private direct-mapped cache of (site, target) ---- */

#define GO_TARGET(address)                                                                         \
    do {                                                                                           \
        U64 address_ = (address);                                                                  \
        const Target *hit_ = ((const Target **)cpu->targets)[target_slot(SITE, address_)];         \
        if (UNLIKELY(hit_->pc != address_ || hit_->site != SITE)) {                                \
            cpu->pc = address_;                                                                    \
            return h_indirect_miss(cpu, op, fa, fb, kind);                                         \
        }                                                                                          \
        COUNT(hit_->counter);                                                                      \
        GO(TARGET_LINK(hit_));                                                                     \
    } while (0)

#define BODY_CALL_R(address)                                                                       \
    U64 back = op[1].word[0];                                                                      \
    U64 target = (address);                                                                        \
    STORE(back, 64, push);                                                                         \
    REG_AT(U64, RSP) -= 8;                                                                         \
    SHADOW_PUSH(back);                                                                             \
    COUNT(op->imm);                                                                                \
    GO_TARGET(target)
#define BODY_JUMP_R(address)                                                                       \
    COUNT(op->imm);                                                                                \
    GO_TARGET(address)

#define BODY_RETURN(drop)                                                                          \
    ZLOAD(address, 64, top);                                                                       \
    REG_AT(U64, RSP) += 8 + (drop);                                                                \
    COUNT(op->imm);                                                                                \
    U32 top = cpu->shadow_top;                                                                     \
    const ShadowEntry *entry = &cpu->shadow[top];                                                  \
    if (UNLIKELY(entry->return_to != address)) {                                                   \
        cpu->pc = address;                                                                         \
        return h_return_miss(cpu, op, fa, fb, kind);                                               \
    }                                                                                              \
    cpu->shadow_top = (top - 1) & (SHADOW_SLOTS - 1);                                              \
    const Op *call = entry->call;                                                                  \
    COUNT(call->imm + 1);                                                                          \
    GO(call[1].link[1])

/* ---- a compare and its conditional jump ---- */

#define FINISH(cc, bits)                                                                           \
    do {                                                                                           \
        U64 taken_ = cond_compare(CC_##cc, fa, fb, bits);                                          \
        kind = FLAGS_SUB##bits;                                                                    \
        cpu->counter[op[2].word[0] + 1 - taken_]++;                                                \
        const Op *go_ = op[1].link[taken_];                                                        \
        if (UNLIKELY(cpu->pending != 0))                                                           \
            return h_pending(cpu, go_, fa, fb, kind);                                              \
        return go_->run(cpu, go_, fa, fb, kind);                                                   \
    } while (0)

#define BODY_CMP_RR_JCC(cc, bits)                                                                  \
    fa = (U64)REG(bits, op->a);                                                                    \
    fb = (U64)REG(bits, op->b);                                                                    \
    FINISH(cc, bits)
#define BODY_CMP_RI_JCC(cc, bits)                                                                  \
    fa = (U64)REG(bits, op->a);                                                                    \
    fb = (U64)(S64)op->imm;                                                                        \
    FINISH(cc, bits)
#define BODY_TEST_RR_JCC(cc, bits)                                                                 \
    fa = (U64)(REG(bits, op->a) & REG(bits, op->b));                                               \
    fb = 0;                                                                                        \
    FINISH(cc, bits)
#define BODY_TEST_RI_JCC(cc, bits)                                                                 \
    fa = (U64)(REG(bits, op->a) & op->imm);                                                        \
    fb = 0;                                                                                        \
    FINISH(cc, bits)

#endif

/*
 * test_insn.c: decoding, effects, operands and references of single instructions.
 *
 * The fast decoder is held to the full one over every executable segment that this process maps.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tests/support/cmocka.h"

#include "core/insn.h"

#include <link.h>
#include <string.h>

enum { AT = 0x401000 };

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 };

static RegSet regs(unsigned first, unsigned second)
{
    return (RegSet)1 << first | (RegSet)1 << second;
}

#define DECODE(...)                                                                                \
    decode((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static Insn decode(const uint8_t *data, size_t len)
{
    Insn insn;
    assert_true(insn_decode((Bytes){ data, len }, vaddr(AT), &insn));
    assert_int_equal(insn.size, len);
    return insn;
}

static InsnEffects effects_of(Insn insn)
{
    InsnEffects effects;
    insn_effects(&insn, &effects);
    return effects;
}

static void is_branch(Insn insn, Flow flow, uint8_t offset, uint8_t size, uint64_t target)
{
    assert_int_equal(insn.flow, flow);
    assert_int_equal(insn.ref, REF_BRANCH);
    assert_int_equal(insn.ref_offset, offset);
    assert_int_equal(insn.ref_size, size);
    assert_int_equal(insn.ref_to.v, target);
}

static void decodes_direct_branches(void **state)
{
    (void)state;
    is_branch(DECODE(0xeb, 0xfe), FLOW_JUMP, 1, 1, AT);
    is_branch(DECODE(0xe9, 0x00, 0x01, 0, 0), FLOW_JUMP, 1, 4, AT + 5 + 0x100);
    is_branch(DECODE(0xe8, 0xfb, 0xff, 0xff, 0xff), FLOW_CALL, 1, 4, AT);
    is_branch(DECODE(0xe2, 0x10), FLOW_LOOP, 1, 1, AT + 0x12);
    is_branch(DECODE(0xe3, 0x10), FLOW_LOOP, 1, 1, AT + 0x12);
    is_branch(DECODE(0x67, 0xe3, 0x10), FLOW_LOOP, 2, 1, AT + 0x13);
    is_branch(DECODE(0xc7, 0xf8, 0x10, 0, 0, 0), FLOW_XBEGIN, 2, 4, AT + 0x16);
    is_branch(DECODE(0xf2, 0xe9, 0, 0, 0, 0), FLOW_JUMP, 2, 4, AT + 6);
    is_branch(DECODE(0x67, 0xe8, 0, 0, 0, 0), FLOW_CALL, 2, 4, AT + 6);
}

static void decodes_condition_codes(void **state)
{
    (void)state;
    for (uint8_t cc = 0; cc < 16; cc++) {
        Insn near = DECODE(0x0f, (uint8_t)(0x80 + cc), 4, 0, 0, 0);
        Insn brief = DECODE((uint8_t)(0x70 + cc), 4);
        is_branch(near, FLOW_COND, 2, 4, AT + 10);
        is_branch(brief, FLOW_COND, 1, 1, AT + 6);
        assert_int_equal(near.cond, cc);
        assert_int_equal(brief.cond, cc);
    }
}

static void decodes_indirect_branches_and_stops(void **state)
{
    (void)state;
    assert_int_equal(DECODE(0xff, 0xe0).flow, FLOW_JUMP_IND);
    assert_int_equal(DECODE(0xff, 0xd0).flow, FLOW_CALL_IND);
    assert_int_equal(DECODE(0x3e, 0xff, 0xe0).facts, INSN_NOTRACK);
    assert_int_equal(DECODE(0xc3).flow, FLOW_RET);
    assert_int_equal(DECODE(0xf3, 0xc3).flow, FLOW_RET);
    assert_int_equal(DECODE(0xc2, 8, 0).flow, FLOW_RET);
    assert_int_equal(DECODE(0x0f, 0x05).flow, FLOW_SYSCALL);
    assert_int_equal(DECODE(0xcd, 0x80).flow, FLOW_SYSCALL);
    assert_int_equal(DECODE(0x0f, 0x0b).flow, FLOW_STOP);
    assert_int_equal(DECODE(0xf4).flow, FLOW_STOP);
    assert_int_equal(DECODE(0xcc).flow, FLOW_STOP);
}

static void is_memory(Insn insn, InsnRef ref, uint8_t offset, uint64_t target)
{
    assert_int_equal(insn.ref, ref);
    assert_int_equal(insn.ref_offset, offset);
    assert_int_equal(insn.ref_size, 4);
    assert_int_equal(insn.ref_to.v, target);
}

static void decodes_memory_references(void **state)
{
    (void)state;
    is_memory(DECODE(0x48, 0x8d, 0x05, 4, 0, 0, 0), REF_MEM, 3, AT + 11);
    /* cmpl $1, 4(%rip): counts from the end of the immediate */
    is_memory(DECODE(0x83, 0x3d, 4, 0, 0, 0, 1), REF_MEM, 2, AT + 11);
    is_memory(DECODE(0xc7, 0x05, 4, 0, 0, 0, 1, 2, 3, 4), REF_MEM, 2, AT + 14);
    is_memory(DECODE(0xff, 0x25, 4, 0, 0, 0), REF_MEM, 2, AT + 10);
    is_memory(DECODE(0xc5, 0xfa, 0x10, 0x05, 4, 0, 0, 0), REF_MEM, 4, AT + 12);
    is_memory(DECODE(0xff, 0x24, 0xc5, 0x00, 0x20, 0x40, 0x00), REF_ABS, 3, 0x402000);
    is_memory(DECODE(0x8b, 0x04, 0x25, 0, 0, 0, 0x80), REF_ABS, 3, 0xffffffff80000000);
    /* mov %fs:0x28, %rax is no address of the image; nor is a base with a displacement */
    assert_int_equal(DECODE(0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0).ref, REF_NONE);
    assert_int_equal(DECODE(0x48, 0x8b, 0x80, 0, 0x20, 0x40, 0).ref, REF_NONE);
    assert_int_equal(DECODE(0x48, 0x8b, 0xc5).ref, REF_NONE);
}

static void tells_the_facts(void **state)
{
    (void)state;
    assert_int_equal(DECODE(0xf3, 0x0f, 0x1e, 0xfa).facts, INSN_ENDBR);
    assert_int_equal(DECODE(0x90).facts, INSN_NOP);
    assert_int_equal(DECODE(0x66, 0x90).facts, INSN_NOP);
    assert_int_equal(DECODE(0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0).facts, INSN_NOP);
    assert_int_equal(DECODE(0xf3, 0x90).facts, 0);
    assert_int_equal(DECODE(0xf0, 0x0f, 0xb1, 0x0f).facts, INSN_LOCK);
    assert_int_equal(DECODE(0x87, 0x07).facts, INSN_LOCK);
    assert_int_equal(DECODE(0x87, 0xc7).facts, 0);
    Insn lea = DECODE(0x66, 0x48, 0x8d, 0x3d, 4, 0, 0, 0);
    assert_int_equal(lea.facts, INSN_EXACT_LEN);
    is_memory(lea, REF_MEM, 4, AT + 12);
    Insn call = DECODE(0x66, 0x66, 0x48, 0xe8, 4, 0, 0, 0);
    assert_int_equal(call.facts, INSN_EXACT_LEN);
    is_branch(call, FLOW_CALL, 4, 4, AT + 12);
    assert_int_equal(DECODE(0x66, 0x48, 0xff, 0x15, 4, 0, 0, 0).facts, INSN_EXACT_LEN);
}

static void rejects_what_is_no_instruction(void **state)
{
    (void)state;
    static const uint8_t bad[][4] = {
        { 0x06, 0, 0, 0 },       /* push es: not in 64-bit mode */
        { 0x66, 0xe9, 0, 0 },    /* vendors disagree */
        { 0x0f, 0x0a, 0, 0 },    /* undefined */
        { 0xe9, 0, 0, 0 },       /* cut off */
        { 0x48, 0x8d, 0x05, 1 }, /* cut off */
    };
    Insn insn;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(insn_decode((Bytes){ bad[i], 4 }, vaddr(AT), &insn));
    assert_false(insn_decode((Bytes){ bad[0], 0 }, vaddr(AT), &insn));
    static const uint8_t jkzd[] = { 0xc5, 0xcc, 0x84, 0x7f, 0, 0x42, 0xc0 }; /* Xeon Phi only */
    assert_false(insn_decode((Bytes){ jkzd, sizeof jkzd }, vaddr(AT), &insn));
}

static void tells_register_effects(void **state)
{
    (void)state;
    InsnEffects add = effects_of(DECODE(0x03, 0x43, 8)); /* add 8(%rbx), %eax */
    assert_int_equal(add.reads, regs(RAX, RBX));
    assert_int_equal(add.writes, regs(RAX, RAX));
    assert_true(add.reads_mem && !add.writes_mem && !add.barrier && !add.vector);
    InsnEffects byte = effects_of(DECODE(0xb0, 1)); /* mov $1, %al */
    assert_int_equal(byte.reads, regs(RAX, RAX));
    InsnEffects high = effects_of(DECODE(0x88, 0xfc)); /* mov %bh, %ah */
    assert_int_equal(high.reads, regs(RAX, RBX));
    assert_int_equal(high.writes, regs(RAX, RAX));
    InsnEffects zero = effects_of(DECODE(0x31, 0xc0)); /* xor %eax, %eax */
    assert_int_equal(zero.reads, 0);
    assert_int_equal(zero.writes, regs(RAX, RAX));
    InsnEffects cmov = effects_of(DECODE(0x48, 0x0f, 0x44, 0xc1)); /* cmove %rcx, %rax */
    assert_int_equal(cmov.reads, regs(RAX, RCX));
    assert_int_equal(cmov.flags_read, FLAG_ZF);
    InsnEffects push = effects_of(DECODE(0x53));
    assert_int_equal(push.reads, regs(RBX, RSP));
    assert_int_equal(push.writes, regs(RSP, RSP));
    assert_true(push.writes_mem);
    InsnEffects lea = effects_of(DECODE(0x48, 0x8d, 0x04, 0x1a)); /* lea (%rdx,%rbx), %rax */
    assert_int_equal(lea.reads, regs(RDX, RBX));
    assert_false(lea.reads_mem);
}

static void tells_flag_effects(void **state)
{
    (void)state;
    uint8_t six = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF;
    assert_int_equal(effects_of(DECODE(0x01, 0xc8)).flags_written, six);
    assert_int_equal(effects_of(DECODE(0x21, 0xc8)).flags_written, six); /* AF undefined */
    assert_int_equal(effects_of(DECODE(0xff, 0xc0)).flags_written, six & ~FLAG_CF);
    assert_int_equal(effects_of(DECODE(0x77, 0)).flags_read, FLAG_CF | FLAG_ZF);
    InsnEffects by_cl = effects_of(DECODE(0xd3, 0xe0)); /* shl %cl, %eax */
    assert_int_equal(by_cl.flags_written, 0);
    assert_int_equal(by_cl.flags_read & six, six);
    assert_int_equal(effects_of(DECODE(0xc1, 0xe0, 0x20)).flags_written, 0); /* count 32 & 31 */
    assert_int_equal(effects_of(DECODE(0xc1, 0xe0, 3)).flags_written, six);
    InsnEffects scan = effects_of(DECODE(0xf3, 0xa6)); /* repe cmpsb: rcx may be 0 */
    assert_int_equal(scan.flags_written, 0);
    assert_int_equal(scan.flags_read & (six | FLAG_DF), six | FLAG_DF);
}

static void tells_barriers_and_vectors(void **state)
{
    (void)state;
    InsnEffects call = effects_of(DECODE(0xe8, 0, 0, 0, 0));
    assert_true(call.barrier);
    assert_int_equal(call.reads, 0xffff);
    assert_true(effects_of(DECODE(0x0f, 0x05)).barrier);
    assert_true(effects_of(DECODE(0x0f, 0xa2)).barrier);       /* cpuid */
    assert_true(effects_of(DECODE(0x0f, 0xae, 0xf0)).barrier); /* mfence */
    assert_true(effects_of(DECODE(0xf0, 0x01, 0x07)).barrier); /* lock add */
    assert_true(effects_of(DECODE(0x8e, 0xd8)).barrier);       /* mov %eax, %ds */
    assert_true(effects_of(DECODE(0x0f, 0x28, 0xc1)).vector);  /* movaps */
    assert_true(effects_of(DECODE(0xd9, 0xe8)).vector);        /* fld1 */
    assert_true(effects_of(DECODE(0x0f, 0x77)).vector);        /* emms */
    assert_true(effects_of(DECODE(0xc5, 0xf8, 0x77)).vector);  /* vzeroupper */
    assert_false(effects_of(DECODE(0x48, 0x89, 0xc8)).vector);
    InsnEffects gather = effects_of(DECODE(0xc4, 0xe2, 0x71, 0x92, 0x04, 0x92));
    assert_true(gather.vector);
    assert_int_equal(gather.reads, regs(RDX, RDX)); /* vgatherdps: index is a vector */
}

static void gives_operands(void **state)
{
    (void)state;
    Operand op[3];
    Insn movslq = DECODE(0x48, 0x63, 0x04, 0x82); /* movslq (%rdx,%rax,4), %rax */
    assert_int_equal(insn_operands(&movslq, op), INSN_OP_MOVSXD);
    assert_int_equal(op[0].kind, OPERAND_REG);
    assert_int_equal(op[0].reg, RAX);
    assert_int_equal(op[1].kind, OPERAND_MEM);
    assert_int_equal(op[1].mem.base, RDX);
    assert_int_equal(op[1].mem.index, RAX);
    assert_int_equal(op[1].mem.scale, 4);
    assert_int_equal(op[1].mem.size, 4);
    Insn cmp = DECODE(0x83, 0xf8, 0xff); /* cmp $-1, %eax */
    assert_int_equal(insn_operands(&cmp, op), INSN_OP_CMP);
    assert_int_equal(op[1].kind, OPERAND_IMM);
    assert_int_equal(op[1].imm, -1);
    Insn lea = DECODE(0x48, 0x8d, 0x05, 4, 0, 0, 0);
    assert_int_equal(insn_operands(&lea, op), INSN_OP_LEA);
    assert_int_equal(op[1].mem.base, -2);
    assert_int_equal(op[1].mem.disp, AT + 11);
    Insn canary = DECODE(0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0);
    assert_int_equal(insn_operands(&canary, op), INSN_OP_MOV);
    assert_int_equal(op[1].mem.segment, 1);
    assert_int_equal(op[1].mem.disp, 0x28);
    Insn high = DECODE(0x80, 0xfc, 5); /* cmp $5, %ah */
    insn_operands(&high, op);
    assert_true(op[0].high_byte && op[0].reg == RAX && op[0].size == 1);
    Insn wide = DECODE(0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8);
    assert_int_equal(insn_operands(&wide, op), INSN_OP_MOVABS);
    assert_int_equal(op[1].imm, 0x0807060504030201);
    Insn cltq = DECODE(0x48, 0x98);
    assert_int_equal(insn_operands(&cltq, op), INSN_OP_CLTQ);
}

static void sets_references(void **state)
{
    (void)state;
    Insn brief = DECODE(0xeb, 0);
    assert_true(insn_set_ref(&brief, 0x1000, 0x1002 + 127));
    assert_int_equal(brief.bytes[1], 127);
    assert_false(insn_set_ref(&brief, 0x1000, 0x1002 + 128));
    assert_true(insn_set_ref(&brief, 0x1000, 0x1002 - 128));
    Insn store = DECODE(0xc7, 0x05, 4, 0, 0, 0, 1, 2, 3, 4);
    assert_true(insn_set_ref(&store, 0x500000, 0x500000));
    Insn again;
    assert_true(insn_decode((Bytes){ store.bytes, store.size }, vaddr(0x500000), &again));
    assert_int_equal(again.ref_to.v, 0x500000);
    assert_false(insn_set_ref(&store, 0, 0x80000100));
    Insn absolute = DECODE(0xff, 0x24, 0xc5, 0, 0x20, 0x40, 0);
    assert_true(insn_set_ref(&absolute, 0x1000, 0x7fffffff));
    assert_false(insn_set_ref(&absolute, 0x1000, 0x80000000));
    Insn none = DECODE(0x90);
    assert_false(insn_set_ref(&none, 0, 0));
}

static void prints_text(void **state)
{
    (void)state;
    char text[64];
    Insn insn = DECODE(0xe9, 0x00, 0x01, 0, 0);
    insn_text(&insn, text, sizeof text);
    assert_string_equal(text, "jmp 0x0000000000401105");
    insn_text(&insn, text, 4);
    assert_string_equal(text, "jmp");
}

/* --- the fast decoder ---------------------------------------------------------------------- */

static bool has_fast_target(uint8_t flow)
{
    return flow == FLOW_JUMP || flow == FLOW_COND || flow == FLOW_LOOP || flow == FLOW_CALL ||
           flow == FLOW_XBEGIN;
}

static void fast_equals_full(Bytes code, Vaddr addr, const Insn *full)
{
    uint8_t size = 0;
    uint8_t flow = 0;
    Vaddr target = VADDR_NONE;
    char text[64];
    insn_text(full, text, sizeof text);
    if (!insn_decode_fast(code, addr, &size, &flow, &target) || size != full->size ||
        flow != full->flow || target.v != (has_fast_target(flow) ? full->ref_to.v : VADDR_NONE.v))
        fail_msg("0x%lx %s: size %u, not %u; flow %u, not %u; target 0x%lx", addr.v, text, size,
                 full->size, flow, full->flow, target.v);
}

static void scan_segment(Bytes code)
{
    for (size_t at = 0; at < code.len;) {
        Insn insn;
        Bytes rest = { code.data + at, code.len - at };
        if (!insn_decode(rest, vaddr(at), &insn)) {
            at++;
            continue;
        }
        fast_equals_full(rest, vaddr(at), &insn);
        at += insn.size;
    }
}

static int scan_module(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    enum { ENOUGH = 1 << 20 };
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0)
            continue;
        const uint8_t *start = (const uint8_t *)(info->dlpi_addr + segment->p_vaddr);
        scan_segment((Bytes){ start, segment->p_memsz < ENOUGH ? segment->p_memsz : ENOUGH });
    }
    return 0;
}

static void fast_decoder_agrees_on_whole_libraries(void **state)
{
    (void)state;
    dl_iterate_phdr(scan_module, NULL);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void fast_decoder_agrees_on_random_bytes(void **state)
{
    (void)state;
    uint64_t seed = 0x9e3779b97f4a7c15;
    for (int i = 0; i < 300000; i++) {
        uint8_t data[16];
        uint64_t words[2] = { next_random(&seed), next_random(&seed) };
        memcpy(data, words, sizeof data);
        Insn insn;
        if (insn_decode((Bytes){ data, sizeof data }, vaddr(AT), &insn))
            fast_equals_full((Bytes){ data, sizeof data }, vaddr(AT), &insn);
    }
}

/* Found by fuzzing: uiret, behind a prefix said twice. */
static void fast_decoder_knows_rare_returns(void **state)
{
    (void)state;
    static const uint8_t cases[][5] = { { 0xf3, 0x0f, 0x01, 0xec },
                                        { 0xf3, 0xf3, 0x0f, 0x01, 0xec } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Bytes code = { cases[i], i + 4 };
        Insn insn;
        assert_true(insn_decode(code, vaddr(AT), &insn));
        assert_int_equal(insn.flow, FLOW_RET);
        fast_equals_full(code, vaddr(AT), &insn);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_direct_branches),
        cmocka_unit_test(decodes_condition_codes),
        cmocka_unit_test(decodes_indirect_branches_and_stops),
        cmocka_unit_test(decodes_memory_references),
        cmocka_unit_test(tells_the_facts),
        cmocka_unit_test(rejects_what_is_no_instruction),
        cmocka_unit_test(tells_register_effects),
        cmocka_unit_test(tells_flag_effects),
        cmocka_unit_test(tells_barriers_and_vectors),
        cmocka_unit_test(gives_operands),
        cmocka_unit_test(sets_references),
        cmocka_unit_test(prints_text),
        cmocka_unit_test(fast_decoder_agrees_on_whole_libraries),
        cmocka_unit_test(fast_decoder_agrees_on_random_bytes),
        cmocka_unit_test(fast_decoder_knows_rare_returns),
    };
    return cmocka_run_group_tests_name("insn", tests, NULL, NULL);
}

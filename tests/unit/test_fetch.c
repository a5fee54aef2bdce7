/*
 * test_fetch.c: the decoder of forms says of every encoding what Zydis says.
 *
 * Generated: every opcode of both maps, every ModRM byte, and the prefixes that compilers and
 * linkers emit, alone and together; SIB bytes, displacements and immediates are random. Where the
 * decoder of forms knows an encoding, each field that records and routines are made from must be
 * equal; where it does not, Zydis must have no handler and no transfer for it, but for the ones
 * listed below.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/fetch_form.h"
#include "profiler/forms.h"
#include "support/cmocka.h"
#include "support/machine.h"

#include <Zydis/Mnemonic.h>
#include <stdio.h>
#include <string.h>

enum { OPCODES_OF_MAP = 256, MAX_INSN = 15, SHOWN = 20 };

typedef struct Prefixes {
    uint8_t n;
    uint8_t byte[4];
} Prefixes;

static const Prefixes prefixes[] = {
    { 0, { 0 } },
    { 1, { 0x40 } },
    { 1, { 0x41 } },
    { 1, { 0x42 } },
    { 1, { 0x44 } },
    { 1, { 0x47 } },
    { 1, { 0x48 } },
    { 1, { 0x49 } },
    { 1, { 0x4a } },
    { 1, { 0x4c } },
    { 1, { 0x4f } },
    { 1, { 0x66 } },
    { 2, { 0x66, 0x41 } },
    { 2, { 0x66, 0x44 } },
    { 2, { 0x66, 0x48 } },
    { 2, { 0x66, 0x4d } },
    { 1, { 0x64 } },
    { 2, { 0x64, 0x48 } },
    { 2, { 0x64, 0x4f } },
    { 2, { 0x64, 0x66 } },
    { 1, { 0x65 } },
    { 2, { 0x65, 0x48 } },
    { 1, { 0xf2 } },
    { 2, { 0xf2, 0x48 } },
    { 1, { 0xf3 } },
    { 2, { 0xf3, 0x48 } },
    { 2, { 0xf3, 0x41 } },
    { 1, { 0xf0 } },
    { 2, { 0xf0, 0x48 } },
    { 1, { 0x67 } },
    { 2, { 0x67, 0x48 } },
    { 1, { 0x2e } },
    { 2, { 0x66, 0x2e } },
    { 1, { 0x3e } },
    { 2, { 0x3e, 0x48 } },
    { 3, { 0x66, 0x66, 0x48 } },
    { 3, { 0x66, 0x66, 0x2e } },
    { 2, { 0xf2, 0x66 } },
    { 2, { 0x2e, 0x64 } },
    { 2, { 0x64, 0x3e } },
    { 2, { 0x48, 0x66 } },
};

static unsigned n_equal, n_native, n_short, n_bad;

static void show(const char *what, const uint8_t *bytes, unsigned size)
{
    if (n_bad++ >= SHOWN)
        return;
    fprintf(stderr, "%s:", what);
    for (unsigned i = 0; i < size; i++)
        fprintf(stderr, " %02x", bytes[i]);
    fprintf(stderr, "\n");
}

#define FIELD(name)                                                                                \
    if ((own->name) != (zydis->name)) {                                                            \
        if (n_bad < SHOWN)                                                                         \
            fprintf(stderr, #name ": %llx, Zydis %llx, ", (unsigned long long)own->name,           \
                    (unsigned long long)zydis->name);                                              \
        show("differs", bytes, zydis->size);                                                       \
        return;                                                                                    \
    }

static bool is_nop(const GuestInsn *insn)
{
    return insn->mnemonic == ZYDIS_MNEMONIC_NOP || insn->mnemonic == ZYDIS_MNEMONIC_ENDBR64;
}

static bool is_count(const GuestInsn *insn)
{
    return insn->shape == SHAPE_RI && (form_is_shift(insn) || insn->mnemonic == ZYDIS_MNEMONIC_BT);
}

static bool is_prefix(unsigned byte)
{
    static const uint8_t all[] = {
        0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3
    };
    return (byte & 0xf0) == 0x40 || memchr(all, (int)byte, sizeof all) != NULL;
}

static void compare_memory(const GuestInsn *own, const GuestInsn *zydis, const uint8_t *bytes)
{
    FIELD(mem.base)
    FIELD(mem.index)
    FIELD(mem.scale)
    FIELD(mem.mode)
    FIELD(mem.usable)
    FIELD(mem.disp)
    FIELD(rip_modrm)
    FIELD(rip_target)
    if (own->rip_modrm != 0) {
        FIELD(rip_high)
    }
}

static void compare(const GuestInsn *own, const GuestInsn *zydis, const uint8_t *bytes)
{
    unsigned own_slots, zydis_slots;
    FIELD(size)
    FIELD(mnemonic)
    FIELD(flow)
    FIELD(flags_in)
    FIELD(flags_out)
    if (is_nop(own))
        return;
    FIELD(shape)
    FIELD(a)
    FIELD(b)
    FIELD(cc)
    FIELD(regs)
    FIELD(written)
    FIELD(faults)
    FIELD(target)
    FIELD(locked)
    FIELD(is_string)
    if (own->shape != SHAPE_NONE && own->shape != SHAPE_I) {
        FIELD(bits)
    }
    bool wide = own->shape == SHAPE_RR || own->shape == SHAPE_RM || own->shape == SHAPE_RRI;
    if (wide && own->mnemonic != ZYDIS_MNEMONIC_LEA) {
        FIELD(source_bits)
    }
    if (is_count(own)) {
        if ((own->imm & 63) != (zydis->imm & 63))
            show(
                "another count", bytes,
                zydis->size); /* Zydis does not extend a count's sign; handlers take the low bits */
    } else if (form_has_long_immediate(own->shape) || own->shape == SHAPE_RI ||
               own->shape == SHAPE_I || own->shape == SHAPE_RRI) {
        FIELD(imm)
    }
    if (form_has_memory(own->shape))
        compare_memory(own, zydis, bytes);
    if (form_handler(own, &own_slots) != form_handler(zydis, &zydis_slots))
        show("another handler", bytes, zydis->size);
    n_equal++;
}

/* Encodings with a handler that the decoder of forms leaves to Zydis: no compiler emits them. */
static bool is_left_out(const GuestInsn *insn, const uint8_t *bytes, const Prefixes *before)
{
    const uint8_t *opcode = bytes + before->n;
    for (unsigned i = 0; i < before->n; i++) {
        uint8_t p = before->byte[i];
        if (p == 0xf2 || p == 0xf3) /* means nothing before these instructions */
            return true;
        if (p == 0x67 && insn->flow == FLOW_NEXT)
            return true; /* 32-bit addresses */
        if ((p == 0x64 || p == 0x65) && insn->mnemonic == ZYDIS_MNEMONIC_LEA)
            return true; /* a segment, which lea ignores */
    }
    if (opcode[0] >= 0xa0 && opcode[0] <= 0xa3) /* mov with a 64-bit address */
        return true;
    if (opcode[0] == 0x90 || (opcode[0] == 0x8f && insn->shape == SHAPE_R))
        return insn->mnemonic == ZYDIS_MNEMONIC_XCHG;
    bool group = (opcode[1] >> 3 & 7) == 1 && (opcode[0] == 0xf6 || opcode[0] == 0xf7);
    bool sal = (opcode[1] >> 3 & 7) == 6 && insn->mnemonic == ZYDIS_MNEMONIC_SHL;
    return group || sal || is_nop(insn);
}

/* ---- encodings that both reaches know ---- */

typedef struct Taken {
    Form form;
    unsigned routine;
} Taken;

static unsigned take_form(const Form *form, unsigned routine, void *to)
{
    *(Taken *)to = (Taken){ *form, routine };
    return routine;
}

static bool same_form(const Form *a, const Form *b)
{
    bool memory = a->memory && a->base == b->base && a->index == b->index && a->scale == b->scale &&
                  a->disp == b->disp && a->rip == b->rip && a->modrm_at == b->modrm_at;
    return a->cell == b->cell && a->size == b->size && a->imm == b->imm && a->a == b->a &&
           a->b == b->b && a->rex == b->rex && a->memory == b->memory && (memory || !a->memory);
}

/* The engines that decode at each execution take a short form in either. */
static void compare_reaches(const uint8_t *bytes)
{
    uint64_t word[2];
    Taken brief, whole;
    memcpy(word, bytes, sizeof word);
    if (fetch_form(FETCH_SHORT, word[0], 0, NO_REG, take_form, &brief) == NO_ROUTINE)
        return;
    n_short++;
    if (fetch_form(FETCH_WHOLE, word[0], word[1], NO_REG, take_form, &whole) == NO_ROUTINE ||
        brief.routine != whole.routine || !same_form(&brief.form, &whole.form))
        show("another form when whole", bytes, brief.form.size);
}

static void try_one(const uint8_t *bytes, const Prefixes *before)
{
    static GuestInsn own, zydis;
    uint64_t pc = machine_code();
    memset(&own, 0x5a, sizeof own); /* nothing may be left as it was */
    bool known = fetch_insn(&own, bytes, MAX_INSN, pc);
    bool valid = decode_one(&zydis, pc, MAX_INSN);
    if (!valid) {
        if (known)
            show("no instruction for Zydis", bytes, own.size);
        return;
    }
    unsigned slots;
    if (!known) {
        n_native++;
        bool handled = form_handler(&zydis, &slots) != NULL && zydis.flow == FLOW_NEXT;
        bool transfer = zydis.flow != FLOW_NEXT && zydis.flow != FLOW_REFUSED && !zydis.gs;
        if ((handled && !is_left_out(&zydis, bytes, before)) || transfer)
            show("not known", bytes, zydis.size);
        return;
    }
    compare_reaches(bytes);
    fetch_complete(&own, bytes);
    compare(&own, &zydis, bytes);
    if (own.flow == FLOW_NEXT && form_handler(&zydis, &slots) == NULL)
        show("no handler", bytes, zydis.size);
}

static void every_encoding_is_what_zydis_says(void **state)
{
    (void)state;
    uint64_t seed = 1;
    uint8_t bytes[FETCH_READS];
    for (unsigned p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++) {
        for (unsigned n = 0; n < 2 * OPCODES_OF_MAP * 256; n++) {
            if (n < OPCODES_OF_MAP * 256 && is_prefix(n >> 8))
                continue;
            uint8_t *at = bytes;
            for (unsigned i = 0; i < sizeof bytes; i += 8) {
                uint64_t value = machine_value(&seed);
                memcpy(bytes + i, &value, 8);
            }
            for (unsigned i = 0; i < prefixes[p].n; i++)
                *at++ = prefixes[p].byte[i];
            if (n >= OPCODES_OF_MAP * 256)
                *at++ = 0x0f;
            *at++ = (uint8_t)(n >> 8);
            *at = (uint8_t)n;
            machine_poke(bytes, sizeof bytes);
            try_one(bytes, &prefixes[p]);
        }
    }
    printf("decoder of forms: %u encodings equal to Zydis (%u of them short), %u left to it\n",
           n_equal, n_short, n_native);
    assert_int_equal(n_bad, 0);
    assert_true(n_short > 100000);
    assert_true(n_equal > 1000000);
}

/* An instruction that is not there in full is not decoded. */
static void room_is_kept(void **state)
{
    (void)state;
    GuestInsn insn;
    uint8_t bytes[FETCH_READS] = { 0x48, 0x81, 0x84, 0x8b, 1, 2, 3, 4, 5, 6, 7, 8 };
    assert_true(fetch_insn(&insn, bytes, 12, machine_code()));
    assert_int_equal(insn.size, 12);
    for (unsigned room = 0; room < 12; room++)
        assert_false(fetch_insn(&insn, bytes, room, machine_code()));
}

int main(void)
{
    machine_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_encoding_is_what_zydis_says),
        cmocka_unit_test(room_is_kept),
    };
    return cmocka_run_group_tests_name("fetch", tests, NULL, NULL);
}

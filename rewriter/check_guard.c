/*
 * check_guard.c: proof that a guard before a hot entry does what the PLT stub did.
 *
 *     mov  %rax, -8(%rsp)
 *     lea  f(%rip), %rax          f: what the slot's relocation names in this image
 *     cmp  %rax, slot(%rip)       slot: what the stub jumps through
 *     mov  -8(%rsp), %rax
 *     jne  out                    out: jmp *slot(%rip)
 *     (goes on at the copy of f)
 *
 * The slot alone decides, as in the stub. Nothing but flags differs afterwards.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/bind_plt.h"
#include "rewriter/check_parts.h"

#include <string.h>

typedef struct Reader {
    const Check *check;
    uint64_t at;
    bool good;
} Reader;

static Insn next(Reader *reader)
{
    Insn insn = { .ref_to = VADDR_NONE };
    reader->good =
        reader->good && insn_decode(image_bytes_from(reader->check->output, vaddr(reader->at)),
                                    vaddr(reader->at), &insn);
    reader->at += insn.size;
    return insn;
}

/* The next instruction begins with these bytes. */
static Insn expect(Reader *reader, const uint8_t *bytes, size_t n)
{
    Insn insn = next(reader);
    reader->good = reader->good && insn.size >= n && memcmp(insn.bytes, bytes, n) == 0;
    return insn;
}

bool check_guard(const Check *check, uint64_t at, Vaddr stub)
{
    static const uint8_t save[] = { 0x48, 0x89, 0x44, 0x24, 0xf8 };
    static const uint8_t lea[] = { 0x48, 0x8d, 0x05 };
    static const uint8_t compare[] = { 0x48, 0x39, 0x05 };
    static const uint8_t restore[] = { 0x48, 0x8b, 0x44, 0x24, 0xf8 };
    static const uint8_t jump[] = { 0xff, 0x25 };
    enum { COND_NE = 5 };
    Vaddr slot, function, means;
    if (!plt_stub_read(check->input, stub, &slot, &function))
        return false;
    Reader reader = { check, at, true };
    (void)expect(&reader, save, sizeof save);
    Insn address = expect(&reader, lea, sizeof lea);
    Insn compared = expect(&reader, compare, sizeof compare);
    (void)expect(&reader, restore, sizeof restore);
    Insn differs = next(&reader);
    Reader away = { check, differs.ref_to.v, reader.good };
    Insn out = expect(&away, jump, sizeof jump);
    return reader.good && away.good && differs.flow == FLOW_COND && differs.cond == COND_NE &&
           vaddr_equal(address.ref_to, function) && vaddr_equal(compared.ref_to, slot) &&
           vaddr_equal(out.ref_to, slot) && check_meaning(check, reader.at, &means) &&
           vaddr_equal(means, check_settle(check, function));
}

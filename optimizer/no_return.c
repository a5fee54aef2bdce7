/*
 * no_return.c: functions that never return, by their code and by their names.
 *
 *     croak:  ... call vcroak     no ret, no jump out: never returns
 *     die:    ... jmp croak       jumps only to such functions: neither does it
 *     exit@plt                    the ABI says so
 *
 * Code behind a call of such a function belongs to another path; values must not flow into it. The
 * set is the largest one that its own jumps do not contradict: functions that only jump to each
 * other never return either. What a library exports as not returning is a list of names: their
 * callers were compiled on that promise, so they have no code for the other case.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/no_return.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    "abort",
    "exit",
    "_exit",
    "_Exit",
    "quick_exit",
    "pthread_exit",
    "longjmp",
    "_longjmp",
    "siglongjmp",
    "__longjmp_chk",
    "__stack_chk_fail",
    "__fortify_fail",
    "__chk_fail",
    "__assert_fail",
    "__assert_perror_fail",
    "__assert",
    "__cxa_throw",
    "__cxa_rethrow",
    "__cxa_bad_cast",
    "__cxa_bad_typeid",
    "__cxa_throw_bad_array_new_length",
    "__cxa_call_unexpected",
    "_Unwind_Resume",
    "_ZSt9terminatev",
    "err",
    "errx",
    "verr",
    "verrx",
};

static bool never_returns(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    /* std::__throw_length_error(char const*) and the like */
    return strncmp(name, "_ZSt", 4) == 0 && strstr(name, "__throw_") != NULL;
}

/* --- by code -----------------------------------------------------------------------------------
 */

/* One round over the jumps between entries; true: something was taken back. */
static bool take_back(const UnwindTable *unwind, ModuleRefs *refs)
{
    bool changed = false;
    uint32_t at = 0;
    for (uint32_t i = 0; i < refs->n_jumps; i++) {
        const CrossJump *jump = &refs->jumps[i];
        while (at + 1 < unwind->n_fdes && unwind->fdes[at + 1].start.v <= jump->to.v)
            at++;
        bool inside = jump->to.v - unwind->fdes[at].start.v < unwind->fdes[at].size;
        if (jump->call || !refs->no_return[jump->fde] || (inside && refs->no_return[at]))
            continue;
        refs->no_return[jump->fde] = false;
        changed = true;
    }
    return changed;
}

void no_return_settle(const UnwindTable *unwind, ModuleRefs *refs)
{
    while (take_back(unwind, refs))
        ;
}

/* --- by name -----------------------------------------------------------------------------------
 */

enum { SYMBOL_SIZE = 24, STUB_MAX = 16 };

static const char *import_name(const Image *image, uint32_t symbol)
{
    uint64_t symbols;
    uint64_t strings;
    Bytes entry;
    if (symbol == 0 || !image_dynamic(image, DT_SYMTAB, &symbols) ||
        !image_dynamic(image, DT_STRTAB, &strings) ||
        !image_bytes_at(image, vaddr(symbols + (uint64_t)symbol * SYMBOL_SIZE), SYMBOL_SIZE,
                        &entry))
        return "";
    /* gABI 4, Elf64_Sym: st_name is the first word */
    Bytes text = image_bytes_from(image, vaddr(strings + load_u32(entry.data)));
    Cursor cursor = cursor_at(text, 0);
    return cursor_string(&cursor);
}

static bool is_slot(const Reloc *reloc)
{
    return reloc->type == R_X86_64_JUMP_SLOT || reloc->type == R_X86_64_GLOB_DAT;
}

static int by_addr(const void *left, const void *right)
{
    uint64_t a = ((const Vaddr *)left)->v;
    uint64_t b = ((const Vaddr *)right)->v;
    return (a > b) - (a < b);
}

static bool is_end(const ModuleRefs *refs, Vaddr addr)
{
    return refs->n_ends > 0 &&
           bsearch(&addr, refs->ends, refs->n_ends, sizeof refs->ends[0], by_addr) != NULL;
}

/* The slot that a linkage stub jumps through: `[endbr64] [bnd] jmp *slot(%rip)`. */
static Vaddr slot_of_stub(Bytes code, Vaddr addr)
{
    size_t at = 0;
    Insn insn;
    while (at < code.len &&
           insn_decode((Bytes){ code.data + at, code.len - at }, vaddr_add(addr, at), &insn)) {
        if (insn.flow == FLOW_JUMP_IND)
            return insn.ref == REF_MEM ? insn.ref_to : VADDR_NONE;
        if ((insn.facts & (INSN_ENDBR | INSN_NOP)) == 0)
            break;
        at += insn.size;
    }
    return VADDR_NONE;
}

static size_t find_stubs(Arena *arena, const Image *image, const Section *section, ModuleRefs *refs,
                         size_t cap)
{
    Bytes code;
    uint32_t n_slots = refs->n_ends;
    if (!image_bytes_at(image, section->addr, section->size, &code))
        return cap;
    for (size_t at = 0; at + STUB_MAX / 2 <= code.len; at += STUB_MAX / 2) {
        size_t size = code.len - at < STUB_MAX ? code.len - at : STUB_MAX;
        Vaddr addr = vaddr_add(section->addr, at);
        Vaddr slot = slot_of_stub((Bytes){ code.data + at, size }, addr);
        const ModuleRefs slots = { .ends = refs->ends, .n_ends = n_slots };
        if (vaddr_is_none(slot) || !is_end(&slots, slot))
            continue;
        refs->ends =
            arena_grow(arena, refs->ends, &cap, (size_t)refs->n_ends + 1, sizeof refs->ends[0]);
        refs->ends[refs->n_ends++] = addr;
    }
    return cap;
}

void no_return_imports(Arena *arena, const Image *image, ModuleRefs *refs)
{
    size_t cap = 0;
    for (uint32_t i = 0; i < image->n_relocs; i++) {
        const Reloc *reloc = &image->relocs[i];
        if (!is_slot(reloc) || !never_returns(import_name(image, reloc->symbol)))
            continue;
        refs->ends =
            arena_grow(arena, refs->ends, &cap, (size_t)refs->n_ends + 1, sizeof refs->ends[0]);
        refs->ends[refs->n_ends++] = reloc->where;
    }
    for (uint32_t i = 1; i < image->n_sections; i++)
        if (strncmp(image->sections[i].name, ".plt", 4) == 0)
            cap = find_stubs(arena, image, &image->sections[i], refs, cap);
    if (refs->n_ends > 0)
        qsort(refs->ends, refs->n_ends, sizeof refs->ends[0], by_addr);
}

bool module_refs_ends(const ModuleRefs *refs, const UnwindTable *unwind, const Insn *call)
{
    if (call->flow == FLOW_CALL_IND)
        return call->ref == REF_MEM && is_end(refs, call->ref_to);
    if (call->flow != FLOW_CALL)
        return false;
    const Fde *fde = unwind_fde_at(unwind, call->ref_to);
    if (fde != NULL && vaddr_equal(fde->start, call->ref_to) && refs->no_return[fde - unwind->fdes])
        return true;
    return is_end(refs, call->ref_to);
}

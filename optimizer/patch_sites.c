/*
 * patch_sites.c: one bit per byte of code: may a control transfer arrive here?
 *
 *     bytes   55 48 89 e5 | 41 54 53 | e8 .. .. .. ..
 *     bits    1  0  0  0    0  0  0    0                   1: a possible target
 *             '-- site of 7 bytes: no bit inside, first byte free --'
 *
 * 32-bit branches are looked for at every byte, aligned with instructions or not: their targets lie
 * anywhere in the module, and decoding all of it would neither be proof nor quick. A scan of 60 MB
 * takes about 0.1 s. Short branches reach 129 bytes, so they are decoded: linearly over every frame
 * description entry near the function, where all direct branches must hit decoded instructions;
 * bytes where that fails, or that have no entry, are taken as a short branch at every byte.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/patch_sites.h"
#include "core/lsda.h"

#include <string.h>

enum { REACH_SHORT = 132 /* bytes: a short branch and its own size, rounded up */ };

typedef struct CodeRange {
    uint64_t start, end;
    const uint8_t *bytes;
    uint8_t *bits;
} CodeRange;

struct PatchProof {
    Arena *arena;
    const Image *image;
    const UnwindTable *unwind;
    CodeRange *ranges;
    uint32_t n_ranges;
    bool *decoded;   /* by FDE: its short branches are in */
    bool *gap_taken; /* by FDE: the bytes before it that no entry covers are in */
    const Vaddr *read_pages;
    uint32_t n_read_pages;
    uint8_t *starts; /* scratch of decode_entry: one bit per byte of an entry */
    size_t cap_starts;
};

static const CodeRange *range_at(const PatchProof *proof, uint64_t addr)
{
    for (uint32_t i = 0; i < proof->n_ranges; i++) {
        if (addr >= proof->ranges[i].start && addr < proof->ranges[i].end)
            return &proof->ranges[i];
    }
    return NULL;
}

static void mark(const PatchProof *proof, uint64_t addr)
{
    const CodeRange *range = range_at(proof, addr);
    if (range != NULL) {
        uint64_t offset = addr - range->start;
        range->bits[offset / 8] |= (uint8_t)(1u << (offset % 8));
    }
}

bool patch_proof_is_target(const PatchProof *proof, Vaddr addr)
{
    const CodeRange *range = range_at(proof, addr.v);
    if (range == NULL)
        return false;
    uint64_t offset = addr.v - range->start;
    return (range->bits[offset / 8] >> (offset % 8) & 1) != 0;
}

/* The size of the opcode before a 32-bit displacement that forms a code address; 0: none. */
static uint32_t wide_opcode(const uint8_t *at)
{
    if (at[0] == 0xe8 || at[0] == 0xe9)
        return 1; /* call, jmp */
    if (at[0] == 0x0f && (at[1] & 0xf0) == 0x80)
        return 2; /* jcc */
    if (at[0] == 0xc7 && at[1] == 0xf8)
        return 2; /* xbegin */
    if (at[0] == 0x8d && (at[1] & 0xc7) == 0x05)
        return 2; /* lea r, [rip + disp32] */
    return 0;
}

static void mark_wide(const PatchProof *proof, const CodeRange *range)
{
    uint64_t size = range->end - range->start;
    for (uint64_t i = 0; i + 5 <= size; i++) {
        const uint8_t *at = range->bytes + i;
        uint32_t opcode = wide_opcode(at);
        if (opcode == 0 || i + opcode + 4 > size)
            continue;
        int32_t offset = (int32_t)load_u32(at + opcode);
        mark(proof, range->start + i + opcode + 4 + (uint64_t)(int64_t)offset);
    }
}

/* In fixed images: every 4-byte value at any offset; the low half of an 8-byte pointer is one. */
static void mark_values(const PatchProof *proof)
{
    const Image *image = proof->image;
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        Bytes bytes = image_bytes_from(image, segment->addr);
        if (segment->type != PT_LOAD)
            continue;
        for (size_t at = 0; at + 4 <= bytes.len; at++)
            mark(proof, load_u32(bytes.data + at));
    }
}

static void mark_relocs(const PatchProof *proof)
{
    const Image *image = proof->image;
    for (uint32_t i = 0; i < image->n_relocs; i++) {
        const Reloc *reloc = &image->relocs[i];
        Bytes in_place;
        Elf64_Sym symbol = { 0 };
        (void)image_dynamic_symbol(image, reloc->symbol, &symbol);
        mark(proof, symbol.st_value + (uint64_t)reloc->addend);
        if (image_bytes_at(image, reloc->where, sizeof(uint64_t), &in_place))
            mark(proof, load_u64(in_place.data)); /* a lazy PLT slot is relocated where it stands */
    }
}

/* All symbols, whatever their type: labels of assembly code have none. */
static void mark_symbols(const PatchProof *proof)
{
    const Image *image = proof->image;
    for (uint32_t i = 0; i < image->n_symbols; i++)
        mark(proof, image->symbols[i].addr.v);
    for (uint32_t s = 0; s < image->n_sections; s++) {
        const Section *section = &image->sections[s];
        Bytes bytes;
        if ((section->type != SHT_SYMTAB && section->type != SHT_DYNSYM) ||
            !bytes_slice(image->file, section->offset.v, section->size, &bytes))
            continue;
        for (size_t at = 0; at + sizeof(Elf64_Sym) <= bytes.len; at += sizeof(Elf64_Sym))
            mark(proof, load_u64(bytes.data + at + offsetof(Elf64_Sym, st_value)));
    }
}

static void mark_profile(const PatchProof *proof, const ProfileModule *counts, uint32_t module)
{
    for (uint32_t i = 0; i < counts->n_entries; i++)
        mark(proof, counts->entries[i].to.v);
    for (uint32_t i = 0; i < counts->n_edges; i++) {
        const ProfileEdge *edge = &counts->edges[i];
        if (edge->kind != EDGE_FALL && edge->kind != EDGE_SYSCALL && edge->to_module == module)
            mark(proof, edge->to.v);
    }
}

/* Where the unwinder may go: a pad may lie under another entry than the one whose LSDA names it
 * (.cold parts), so every LSDA of the module is read. Of a malformed one, the sites up to the
 * fault. */
static void mark_landing_pads(const PatchProof *proof)
{
    Arena *scratch = arena_new();
    for (uint32_t i = 0; i < proof->unwind->n_fdes; i++) {
        const Fde *fde = &proof->unwind->fdes[i];
        const Lsda *lsda;
        if (vaddr_is_none(fde->lsda))
            continue;
        arena_reset(scratch);
        (void)!lsda_read(scratch, proof->image, fde, &lsda, NULL);
        for (uint32_t s = 0; s < lsda->n_sites; s++)
            mark(proof, lsda->sites[s].landing_pad.v);
    }
    arena_free(scratch);
}

static void add_ranges(PatchProof *proof)
{
    const Image *image = proof->image;
    proof->ranges = arena_many(proof->arena, CodeRange, image->n_segments);
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        if (segment->type != PT_LOAD || (segment->flags & PF_X) == 0)
            continue;
        Bytes bytes = image_bytes_from(image, segment->addr);
        if (bytes.len == 0)
            continue;
        proof->ranges[proof->n_ranges++] =
            (CodeRange){ segment->addr.v, segment->addr.v + bytes.len, bytes.data,
                         arena_alloc(proof->arena, bytes.len / 8 + 1) };
    }
}

PatchProof *patch_proof_new(Arena *arena, const Image *image, const UnwindTable *unwind,
                            const ProfileModule *counts, uint32_t module)
{
    PatchProof *proof = arena_one(arena, PatchProof);
    *proof = (PatchProof){ .arena = arena, .image = image, .unwind = unwind };
    proof->decoded = arena_many(arena, bool, unwind->n_fdes + (size_t)1);
    proof->gap_taken = arena_many(arena, bool, unwind->n_fdes + (size_t)1);
    proof->read_pages = counts->read_pages;
    proof->n_read_pages = counts->n_read_pages;
    add_ranges(proof);
    for (uint32_t i = 0; i < proof->n_ranges; i++)
        mark_wide(proof, &proof->ranges[i]);
    if (!image->is_pic)
        mark_values(proof);
    mark_relocs(proof);
    mark_symbols(proof);
    mark_landing_pads(proof);
    mark_profile(proof, counts, module);
    mark(proof, image->header.e_entry);
    const int64_t tags[] = { DT_INIT, DT_FINI };
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        uint64_t value;
        if (image_dynamic(image, tags[i], &value))
            mark(proof, value);
    }
    return proof;
}

/* Opcodes with an 8-bit displacement: jcc, jmp, loop and jrcxz. */
static bool is_short_opcode(uint8_t opcode)
{
    return (opcode & 0xf0) == 0x70 || opcode == 0xeb || (opcode & 0xfc) == 0xe0;
}

static void mark_short_everywhere(const PatchProof *proof, uint64_t start, uint64_t end)
{
    const CodeRange *range = range_at(proof, start);
    if (range == NULL)
        return;
    if (end > range->end)
        end = range->end;
    for (uint64_t at = start; at + 2 <= end; at++) {
        const uint8_t *bytes = range->bytes + (at - range->start);
        if (is_short_opcode(bytes[0]))
            mark(proof, at + 2 + (uint64_t)(int64_t)(int8_t)bytes[1]);
    }
}

/* Decodes [start, start + bytes.len) linearly. False when it does not come out even, or a direct
 * branch leads between two instructions. `marks`: false checks, true marks the targets. */
static bool decode_entry(PatchProof *proof, uint64_t start, Bytes bytes, bool marks)
{
    size_t need = bytes.len / 8 + 1;
    if (!marks) {
        proof->starts =
            arena_grow(proof->arena, proof->starts, &proof->cap_starts, need, sizeof(uint8_t));
        memset(proof->starts, 0, need);
    }
    for (size_t at = 0; at < bytes.len;) {
        uint8_t size, flow;
        Vaddr target;
        Bytes rest = { bytes.data + at, bytes.len - at };
        if (!insn_decode_fast(rest, vaddr(start + at), &size, &flow, &target))
            return false;
        proof->starts[at / 8] |= (uint8_t)(1u << (at % 8));
        if (marks && !vaddr_is_none(target)) {
            uint64_t offset = target.v - start;
            if (offset < bytes.len && (proof->starts[offset / 8] >> (offset % 8) & 1) == 0)
                return false;
            mark(proof, target.v);
        }
        at += size;
    }
    return true;
}

static void add_entry(PatchProof *proof, const Fde *fde)
{
    Bytes bytes;
    if (!image_is_code(proof->image, fde->start))
        return;
    bool proven = image_bytes_at(proof->image, fde->start, fde->size, &bytes) &&
                  decode_entry(proof, fde->start.v, bytes, false) &&
                  decode_entry(proof, fde->start.v, bytes, true);
    if (!proven)
        mark_short_everywhere(proof, fde->start.v, fde->start.v + fde->size);
}

/* First FDE that begins after `addr`. */
static uint32_t entry_after(const UnwindTable *unwind, uint64_t addr)
{
    uint32_t low = 0, high = unwind->n_fdes;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (unwind->fdes[middle].start.v <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Bytes between the end of entry i - 1 and the start of entry i. */
static void add_gap(PatchProof *proof, uint32_t i, uint64_t from, uint64_t until)
{
    const UnwindTable *unwind = proof->unwind;
    const CodeRange *range = range_at(proof, from);
    if (range == NULL)
        range = range_at(proof, until);
    if (proof->gap_taken[i] || range == NULL)
        return;
    proof->gap_taken[i] = true;
    uint64_t start = range->start, end = range->end;
    if (i > 0) {
        const Fde *before = &unwind->fdes[i - 1];
        uint64_t before_end = before->start.v + before->size;
        start = before_end > start ? before_end : start;
    }
    if (i < unwind->n_fdes && unwind->fdes[i].start.v < end)
        end = unwind->fdes[i].start.v;
    if (start < end)
        mark_short_everywhere(proof, start, end);
}

/* Everything from which a short branch can lead into [start, end). */
static void add_neighbours(PatchProof *proof, uint64_t start, uint64_t end)
{
    const UnwindTable *unwind = proof->unwind;
    uint64_t from = start > REACH_SHORT ? start - REACH_SHORT : 0, until = end + REACH_SHORT;
    uint32_t i = entry_after(unwind, from);
    i = i > 0 ? i - 1 : 0;
    for (;; i++) {
        add_gap(proof, i, from, until);
        if (i >= unwind->n_fdes || unwind->fdes[i].start.v >= until)
            break;
        if (!proof->decoded[i]) {
            proof->decoded[i] = true;
            add_entry(proof, &unwind->fdes[i]);
        }
    }
}

void patch_proof_add_func(PatchProof *proof, const Func *fn)
{
    const uint32_t entered =
        BLOCK_ENTRY | BLOCK_LANDING_PAD | BLOCK_TABLE | BLOCK_ESCAPES | BLOCK_OBSERVED;
    for (uint32_t i = 0; i < fn->n_extents; i++)
        add_neighbours(proof, fn->extents[i].start.v, fn->extents[i].end.v);
    for (uint32_t i = 0; i < fn->n_blocks; i++) {
        if ((fn->blocks[i].facts & entered) != 0)
            mark(proof, fn->blocks[i].start.v);
    }
    for (uint32_t t = 0; t < fn->n_tables; t++) {
        for (uint32_t i = 0; i < fn->tables[t].n; i++)
            mark(proof, fn->tables[t].entries[i].v);
    }
}

static bool is_read(const PatchProof *proof, const PatchSite *site)
{
    const uint64_t page = ~(uint64_t)0xfff;
    for (uint32_t i = 0; i < proof->n_read_pages; i++) {
        uint64_t read = proof->read_pages[i].v & page;
        if (read == (site->addr.v & page) || read == ((site->addr.v + site->size - 1) & page))
            return true;
    }
    return false;
}

/* True when execution goes on past the instruction in a straight line. */
static bool goes_on(const Insn *insn)
{
    return insn->flow != FLOW_JUMP && insn->flow != FLOW_JUMP_IND && insn->flow != FLOW_RET &&
           insn->flow != FLOW_STOP;
}

/* Whole instructions from the site's start until there are enough bytes, also over the ends of
 * blocks that fall through. */
static bool gather(const Func *fn, BlockId id, bool every_start, PatchSite *site)
{
    const Block *block = func_block(fn, id);
    for (uint32_t i = site->to_insn; site->size < PATCH_SIZE; i++) {
        if (i == block->n_insns) {
            BlockId next = func_block_at(fn, vaddr_add(block->start, block->size));
            if (!is_block(next) || (block->facts & BLOCK_STOPS) != 0 ||
                func_block(fn, next)->n_insns == 0)
                return false;
            block = func_block(fn, next);
            site->over[site->n_over++] = next;
            i = 0;
        }
        const Insn *insn = &block->insns[i];
        if (site->size > 0 && (every_start || (insn->facts & INSN_ENDBR) != 0))
            return false;
        site->size += insn->size;
        bool returns_here = insn->flow == FLOW_CALL || insn->flow == FLOW_CALL_IND ||
                            insn->flow == FLOW_SYSCALL || insn->flow == FLOW_XBEGIN;
        if (site->size < PATCH_SIZE && (!goes_on(insn) || returns_here))
            return false;
    }
    return true;
}

bool patch_site_find(const PatchProof *proof, const Func *fn, BlockId block, bool every_start,
                     PatchSite *out, Refusal *why)
{
    const Block *at = func_block(fn, block);
    *why = REFUSED_SITE_SHORT;
    if (at->n_insns == 0)
        return false;
    bool marked = (at->insns[0].facts & INSN_ENDBR) != 0;
    if (marked && at->n_insns == 1)
        return false;
    *out = (PatchSite){ .addr = at->insns[marked ? 1 : 0].addr, .to_insn = marked ? 1 : 0 };
    if (marked && (every_start || patch_proof_is_target(proof, out->addr)))
        *out = (PatchSite){ .addr = at->start };
    if (!gather(fn, block, every_start, out))
        return false;
    for (uint32_t i = 1; i < out->size; i++) {
        if (patch_proof_is_target(proof, vaddr_add(out->addr, i)))
            return false;
    }
    *why = REFUSED_SITE_DATA;
    return !is_read(proof, out);
}

/* The instruction of the block before `i` that gives register `reg` its value; NULL: not here. */
static const Insn *defined_by(const Block *block, uint32_t i, int8_t reg)
{
    while (i-- > 0) {
        InsnEffects effects;
        insn_effects(&block->insns[i], &effects);
        if ((effects.writes >> reg & 1) != 0 || effects.barrier)
            return effects.barrier ? NULL : &block->insns[i];
    }
    return NULL;
}

/* True when the jump's target is a 64-bit value as it stands in memory or in an instruction. */
static bool takes_address_as_is(const Block *block, uint32_t jump)
{
    Operand operands[3];
    insn_operands(&block->insns[jump], operands);
    for (uint32_t i = jump; operands[0].kind == OPERAND_REG;) {
        const Insn *insn = defined_by(block, i, operands[0].reg);
        if (insn == NULL)
            return false;
        InsnOp op = insn_operands(insn, operands);
        if (op == INSN_OP_LEA)
            return insn->ref == REF_MEM;
        if (op != INSN_OP_MOV && op != INSN_OP_MOVABS)
            return false;
        if (operands[1].kind == OPERAND_IMM)
            return true;
        if (operands[1].size != 8)
            return false;
        operands[0] = operands[1];
        i = (uint32_t)(insn - block->insns);
    }
    return operands[0].kind == OPERAND_MEM;
}

bool patch_needs_every_start(const Func *fn)
{
    for (uint32_t b = 0; fn->open_jump && b < fn->n_blocks; b++) {
        const Block *block = &fn->blocks[b];
        const Insn *last = block_last(block);
        if (last != NULL && last->flow == FLOW_JUMP_IND && block->table < 0 &&
            !takes_address_as_is(block, block->n_insns - 1))
            return true;
    }
    return false;
}

/* code.c: linear decoding of a function and look-ups in it. SPDX-License-Identifier: MIT */
#include "optimizer/code.h"

#include <stdlib.h>

static int by_start(const void *left, const void *right)
{
    const CodeSpan *a = left;
    const CodeSpan *b = right;
    return (a->start.v > b->start.v) - (a->start.v < b->start.v);
}

static void make_spans(Arena *scratch, const Func *fn, Code *code)
{
    code->spans = arena_many(scratch, CodeSpan, fn->n_extents);
    code->n_spans = fn->n_extents;
    for (uint32_t i = 0; i < fn->n_extents; i++) {
        const Extent *extent = &fn->extents[i];
        code->spans[i] =
            (CodeSpan){ .start = extent->start, .size = extent->end.v - extent->start.v };
    }
    qsort(code->spans, code->n_spans, sizeof code->spans[0], by_start);
}

static bool decode_span(Arena *scratch, Code *code, size_t *cap, CodeSpan *span, Bytes bytes,
                        Vaddr *bad)
{
    span->at = arena_many(scratch, uint32_t, bytes.len);
    for (size_t at = 0; at < bytes.len;) {
        code->insns =
            arena_grow(scratch, code->insns, cap, (size_t)code->n + 1, sizeof code->insns[0]);
        Insn *insn = &code->insns[code->n];
        Vaddr addr = vaddr_add(span->start, at);
        if (!insn_decode((Bytes){ bytes.data + at, bytes.len - at }, addr, insn)) {
            *bad = addr;
            return false;
        }
        span->at[at] = ++code->n;
        at += insn->size;
    }
    return true;
}

bool code_decode(Arena *scratch, const Image *image, const Func *fn, Code *out, Vaddr *bad)
{
    size_t cap = 0;
    *out = (Code){ .n = 0 };
    *bad = VADDR_NONE;
    make_spans(scratch, fn, out);
    for (uint32_t i = 0; i < out->n_spans; i++) {
        CodeSpan *span = &out->spans[i];
        Bytes bytes;
        if (!image_bytes_at(image, span->start, span->size, &bytes) ||
            !decode_span(scratch, out, &cap, span, bytes, bad))
            return false;
    }
    out->marks = arena_many(scratch, uint8_t, out->n);
    out->facts = arena_many(scratch, uint32_t, out->n);
    return true;
}

const CodeSpan *code_span_at(const Code *code, Vaddr addr)
{
    uint32_t low = 0;
    uint32_t high = code->n_spans;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (code->spans[mid].start.v <= addr.v)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0 || addr.v - code->spans[low - 1].start.v >= code->spans[low - 1].size)
        return NULL;
    return &code->spans[low - 1];
}

uint32_t code_at(const Code *code, Vaddr addr)
{
    const CodeSpan *span = code_span_at(code, addr);
    uint32_t index = span != NULL ? span->at[addr.v - span->start.v] : 0;
    return index != 0 ? index - 1 : CODE_NONE;
}

uint32_t code_over(const Code *code, Vaddr addr)
{
    const CodeSpan *span = code_span_at(code, addr);
    if (span == NULL)
        return CODE_NONE;
    uint64_t at = addr.v - span->start.v;
    while (span->at[at] == 0) /* the first byte of a span starts an instruction */
        at--;
    return span->at[at] - 1;
}

uint32_t code_next(const Code *code, uint32_t index)
{
    const Insn *insn = &code->insns[index];
    return code_at(code, vaddr_add(insn->addr, insn->size));
}

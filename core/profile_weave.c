/*
 * profile_weave.c: overlapping runs of instructions → blocks that do not overlap.
 *
 *     runs      A: |i1 i2 i3 i4|          count 3
 *               B:       |i3 i4|          count 5
 *     blocks       |i1 i2|i3 i4|          counts 3 and 8, i2 falls into i3 3 times
 *
 * Every run is taken apart into its instructions, the counts are summed per instruction, and blocks
 * are formed again between leaders. This is a table of instructions: simpler than cutting
 * intervals, and right also where two decodings of the same bytes interleave (a jump behind a lock
 * prefix). Where no run goes on, nothing is shared with what follows: so a stretch of runs is woven
 * at a time, and the table stays small. Used for live runs and for sums of profiles.
 *
 * A run whose bytes could not be read has no instruction sizes. It is taken apart at every address
 * that another run begins or ends with. Of one process, the instructions in it that are not
 * accounted for by runs that begin later count to its first part; in a sum, see number_whole.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"

#include <stdlib.h>

/* An instruction, or a piece of a run without sizes. */
typedef struct Piece {
    uint64_t addr;
    uint64_t count;  /* executions */
    uint64_t passes; /* of them that went on to the next address without a branch */
    uint32_t size;
    uint32_t n_insns; /* 1; of a piece without sizes any number from 1 */
    bool leader;
    bool ends;  /* a branch: what follows begins a block */
    bool sized; /* its size is that of one instruction */
} Piece;

typedef struct Weave {
    Arena *arena;   /* of the result */
    Arena *scratch; /* of pieces and cuts */
    Piece *pieces;  /* sorted by addr */
    size_t n, cap;
    uint64_t *cuts; /* sorted: where runs without sizes are taken apart */
    size_t n_cuts, cuts_cap;
    size_t blocks_cap, falls_cap;
} Weave;

static int order_u64(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static int order_pieces(const void *left, const void *right)
{
    const Piece *a = left;
    const Piece *b = right;
    if (a->addr != b->addr)
        return a->addr < b->addr ? -1 : 1;
    if (a->sized != b->sized)
        return a->sized ? -1 : 1; /* a known size goes before a guess */
    return (a->size > b->size) - (a->size < b->size);
}

static int order_runs(const void *left, const void *right)
{
    const Run *a = left;
    const Run *b = right;
    if (a->start != b->start)
        return a->start < b->start ? -1 : 1;
    return (a->size > b->size) - (a->size < b->size);
}

static Piece *add_piece(Weave *weave, uint64_t addr, uint32_t size)
{
    weave->pieces =
        arena_grow(weave->scratch, weave->pieces, &weave->cap, weave->n + 1, sizeof *weave->pieces);
    Piece *piece = &weave->pieces[weave->n++];
    *piece = (Piece){ .addr = addr, .size = size };
    return piece;
}

static void add_cut(Weave *weave, uint64_t addr)
{
    weave->cuts = arena_grow(weave->scratch, weave->cuts, &weave->cuts_cap, weave->n_cuts + 1,
                             sizeof *weave->cuts);
    weave->cuts[weave->n_cuts++] = addr;
}

/* First index of a sorted array of 64-bit numbers whose value is at least `value`. */
static size_t lower_bound(const uint64_t *values, size_t n, uint64_t value)
{
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (values[middle] < value)
            low = middle + 1;
        else
            n = middle;
    }
    return low;
}

static void collect_cuts(Weave *weave, const Run *runs, size_t n, const uint64_t *leaders,
                         size_t n_leaders)
{
    bool any = false;
    for (size_t i = 0; i < n && !any; i++)
        any = runs[i].sizes == NULL;
    if (!any)
        return;
    for (size_t i = 0; i < n; i++) {
        add_cut(weave, runs[i].start);
        add_cut(weave, runs[i].start + runs[i].last);
        add_cut(weave, runs[i].start + runs[i].size);
    }
    for (size_t i = 0; i < n_leaders; i++)
        add_cut(weave, leaders[i]);
    qsort(weave->cuts, weave->n_cuts, sizeof *weave->cuts, order_u64);
}

static void take_apart(Weave *weave, const Run *run)
{
    uint64_t at = run->start;
    uint64_t end = run->start + run->size;
    if (run->sizes != NULL) {
        for (uint32_t i = 0; i < run->n_insns; i++) {
            Piece *piece = add_piece(weave, at, run->sizes[i]);
            piece->n_insns = 1;
            piece->sized = true;
            at += run->sizes[i];
        }
        return;
    }
    size_t cut = lower_bound(weave->cuts, weave->n_cuts, at + 1);
    while (at < end) {
        while (cut < weave->n_cuts && weave->cuts[cut] <= at)
            cut++;
        uint64_t next = cut < weave->n_cuts && weave->cuts[cut] < end ? weave->cuts[cut] : end;
        add_piece(weave, at, (uint32_t)(next - at));
        at = next;
    }
}

/* Sorts the pieces and keeps one for each address. */
static void unite_pieces(Weave *weave)
{
    if (weave->n == 0)
        return;
    qsort(weave->pieces, weave->n, sizeof *weave->pieces, order_pieces);
    size_t kept = 1;
    for (size_t i = 1; i < weave->n; i++)
        if (weave->pieces[i].addr != weave->pieces[kept - 1].addr)
            weave->pieces[kept++] = weave->pieces[i];
    weave->n = kept;
}

/* The piece at exactly `addr`, or the first after it; weave->n: none. */
static size_t find_piece(const Weave *weave, uint64_t addr)
{
    size_t low = 0;
    size_t high = weave->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (weave->pieces[middle].addr < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The piece at exactly `addr`, at or after index `from`; NULL: none. */
static Piece *piece_at(const Weave *weave, size_t from, uint64_t addr)
{
    while (from < weave->n && weave->pieces[from].addr < addr)
        from++;
    return from < weave->n && weave->pieces[from].addr == addr ? &weave->pieces[from] : NULL;
}

/* Gives the pieces of a run without sizes their numbers of instructions. Runs that begin later come
 * first: what they do not explain belongs to the part before them. */
static void number_pieces(Weave *weave, const Run *run)
{
    uint64_t end = run->start + run->size;
    uint32_t known = 0;
    size_t first = find_piece(weave, run->start);
    for (size_t i = first; i < weave->n && weave->pieces[i].addr < end; i++) {
        if (weave->pieces[i].n_insns == 0)
            weave->pieces[i].n_insns = 1;
        known += weave->pieces[i].n_insns;
    }
    Piece *piece = piece_at(weave, first, run->start);
    if (piece != NULL && !piece->sized && piece->n_insns == 1 && known < run->n_insns) {
        uint32_t more = run->n_insns - known;
        piece->n_insns += more < piece->size ? more : piece->size - 1;
    }
}

/* In a sum: a piece that is the whole run has its number of instructions, the largest when runs
 * disagree; a part of one has what its bytes need at least. So the number depends only on the piece
 * and on the runs that are it, and sums of sums are sums. */
static void number_whole(Weave *weave, const Run *runs, size_t n)
{
    for (size_t i = 0; i < weave->n; i++)
        if (!weave->pieces[i].sized)
            weave->pieces[i].n_insns = (weave->pieces[i].size + INSN_SIZE_MAX - 1) / INSN_SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        Piece *piece = piece_at(weave, find_piece(weave, runs[i].start), runs[i].start);
        if (piece != NULL && !piece->sized && piece->size == runs[i].size &&
            piece->n_insns < runs[i].n_insns)
            piece->n_insns = runs[i].n_insns;
    }
}

static void count_piece(Piece *piece, const Run *run, bool last)
{
    piece->count = count_add(piece->count, run->count);
    if (!last || run->falls)
        piece->passes = count_add(piece->passes, run->count);
    else if (run->ends)
        piece->ends = true;
}

static void count_run(Weave *weave, const Run *run)
{
    uint64_t at = run->start;
    uint64_t end = run->start + run->size;
    size_t from = find_piece(weave, at);
    if (run->sizes == NULL) {
        for (; from < weave->n && weave->pieces[from].addr < end; from++)
            count_piece(&weave->pieces[from], run,
                        from + 1 == weave->n || weave->pieces[from + 1].addr >= end);
        return;
    }
    for (uint32_t i = 0; i < run->n_insns; i++) {
        Piece *piece = piece_at(weave, from, at);
        if (NEVER(piece == NULL))
            return;
        count_piece(piece, run, i + 1 == run->n_insns);
        from = (size_t)(piece - weave->pieces);
        at += run->sizes[i];
    }
}

static void mark_leader(Weave *weave, uint64_t addr)
{
    Piece *piece = piece_at(weave, find_piece(weave, addr), addr);
    if (piece != NULL)
        piece->leader = true;
}

/* Where an instruction runs into the next one, two paths meet behind it. */
static void mark_straddlers(Weave *weave)
{
    for (size_t i = 0; i + 1 < weave->n; i++) {
        const Piece *piece = &weave->pieces[i];
        if (piece->addr + piece->size > piece[1].addr)
            mark_leader(weave, piece->addr + piece->size);
    }
}

static bool begins_block(const Piece *piece, bool split_counts)
{
    return piece->leader || piece[-1].ends || piece[-1].addr + piece[-1].size != piece->addr ||
           (split_counts && piece[-1].count != piece->count);
}

/* `sizes`: room for one byte a piece, by index. */
static ProfileBlock make_block(const Weave *weave, size_t from, size_t end, uint8_t *sizes)
{
    const Piece *last = &weave->pieces[end - 1];
    uint64_t stop = last->addr + last->size;
    if (end < weave->n && weave->pieces[end].addr < stop)
        stop = weave->pieces[end].addr;
    ProfileBlock block = { .start = vaddr(weave->pieces[from].addr),
                           .size = (uint32_t)(stop - weave->pieces[from].addr),
                           .count = weave->pieces[from].count };
    bool sized = true;
    for (size_t i = from; i < end; i++) {
        block.n_insns += weave->pieces[i].n_insns;
        sized = sized && weave->pieces[i].sized;
        sizes[i] = (uint8_t)weave->pieces[i].size;
    }
    if (sized)
        block.insn_sizes = sizes + from;
    else if (block.n_insns > block.size)
        block.n_insns = block.size;
    return block;
}

static void form_blocks(Weave *weave, bool split_counts, Woven *out)
{
    uint8_t *sizes = arena_many(weave->arena, uint8_t, weave->n);
    for (size_t from = 0, end; from < weave->n; from = end) {
        for (end = from + 1; end < weave->n; end++)
            if (begins_block(&weave->pieces[end], split_counts))
                break;
        out->blocks = arena_grow(weave->arena, out->blocks, &weave->blocks_cap, out->n_blocks + 1,
                                 sizeof *out->blocks);
        out->blocks[out->n_blocks++] = make_block(weave, from, end, sizes);
        const Piece *last = &weave->pieces[end - 1];
        if (last->passes == 0)
            continue;
        out->falls = arena_grow(weave->arena, out->falls, &weave->falls_cap, out->n_falls + 1,
                                sizeof *out->falls);
        out->falls[out->n_falls++] = (ProfileEdge){
            .from = vaddr(last->addr),
            .to = vaddr(last->addr + last->size),
            .kind = EDGE_FALL,
            .count = last->passes,
        };
    }
}

/* Runs that nothing else touches, and the leaders among them. */
static void weave_stretch(Weave *weave, const Run *runs, size_t n, const uint64_t *leaders,
                          size_t n_leaders, bool split_counts, Woven *out)
{
    arena_reset(weave->scratch);
    weave->pieces = NULL;
    weave->cuts = NULL;
    weave->n = weave->cap = weave->n_cuts = weave->cuts_cap = 0;
    collect_cuts(weave, runs, n, leaders, n_leaders);
    for (size_t i = 0; i < n; i++)
        take_apart(weave, &runs[i]);
    unite_pieces(weave);
    if (!split_counts)
        number_whole(weave, runs, n);
    for (size_t i = n; split_counts && i-- > 0;)
        if (runs[i].sizes == NULL)
            number_pieces(weave, &runs[i]);
    for (size_t i = 0; i < n; i++)
        count_run(weave, &runs[i]);
    for (size_t i = 0; i < n_leaders; i++)
        mark_leader(weave, leaders[i]);
    mark_straddlers(weave);
    form_blocks(weave, split_counts, out);
}

/* How many of the sorted runs, STRETCH or more, reach to the first address that none of them
 * touches; *end: where they end. */
static size_t find_stretch(const Run *runs, size_t n, uint64_t *end)
{
    enum { STRETCH = 4096 };
    *end = runs[0].start + runs[0].size;
    for (size_t i = 1; i < n; i++) {
        if (i >= STRETCH && runs[i].start > *end)
            return i;
        if (runs[i].start + runs[i].size > *end)
            *end = runs[i].start + runs[i].size;
    }
    return n;
}

void profile_weave(Arena *arena, Run *runs, size_t n, uint64_t *leaders, size_t n_leaders,
                   bool split_counts, Woven *out)
{
    *out = (Woven){ 0 };
    if (n == 0)
        return;
    Weave weave = { .arena = arena, .scratch = arena_new() };
    qsort(runs, n, sizeof *runs, order_runs);
    if (n_leaders > 1)
        qsort(leaders, n_leaders, sizeof *leaders, order_u64);
    size_t leader = 0;
    for (size_t from = 0, size; from < n; from += size) {
        uint64_t end;
        size = find_stretch(runs + from, n - from, &end);
        size_t behind = leader + lower_bound(leaders + leader, n_leaders - leader, end);
        weave_stretch(&weave, runs + from, size, leaders + leader, behind - leader, split_counts,
                      out);
        leader = behind;
    }
    arena_free(weave.scratch);
}

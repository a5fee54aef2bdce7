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
 * prefix). Runs come in order of their starts, so the table is laid out in order, too: what a run
 * shares with the ones before it is found beside its start, the rest goes to the end of the table,
 * and only instructions that begin inside others are strays, put in their places afterwards. Where
 * no run goes on, nothing is shared with what follows: so a stretch of runs is woven at a time, and
 * the table stays small. Used for live runs and for sums of profiles.
 *
 * A run whose bytes could not be read has no instruction sizes. It is taken apart at every address
 * that another run begins or ends with. Of one process, the instructions in it that are not
 * accounted for by runs that begin later count to its first part; in a sum, see number_whole.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile_parts.h"
#include "core/sort.h"

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

typedef struct Pieces {
    Piece *items;
    size_t n, cap;
} Pieces;

typedef struct Weave {
    Arena *arena;   /* of the result */
    Arena *scratch; /* of pieces and cuts */
    Pieces pieces;  /* sorted by addr */
    Pieces strays;  /* found where pieces already went on; in no order, at no address of `pieces` */
    size_t first;   /* of the pieces from which on the next run may share some */
    uint64_t *cuts; /* sorted: where runs without sizes are taken apart */
    size_t n_cuts, cuts_cap;
    size_t blocks_cap, falls_cap;
} Weave;

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

static uint64_t run_start(const void *run)
{
    return ((const Run *)run)->start;
}

static Piece *add_piece(Weave *weave, Pieces *pieces, const Piece *piece)
{
    pieces->items =
        arena_grow(weave->scratch, pieces->items, &pieces->cap, pieces->n + 1, sizeof *piece);
    pieces->items[pieces->n] = *piece;
    return &pieces->items[pieces->n++];
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

/* False: every run has sizes, and nothing is to be cut. */
static bool collect_cuts(Weave *weave, const Run *runs, size_t n, const uint64_t *leaders,
                         size_t n_leaders)
{
    bool any = false;
    weave->n_cuts = 0;
    for (size_t i = 0; i < n && !any; i++)
        any = runs[i].sizes == NULL;
    if (!any)
        return false;
    for (size_t i = 0; i < n; i++) {
        add_cut(weave, runs[i].start);
        add_cut(weave, runs[i].start + runs[i].last);
        add_cut(weave, runs[i].start + runs[i].size);
    }
    for (size_t i = 0; i < n_leaders; i++)
        add_cut(weave, leaders[i]);
    sort_numbers(weave->cuts, weave->n_cuts);
    return true;
}

/* One piece for an address that two were found at. */
static void unite_pieces(Piece *kept, const Piece *other)
{
    if (order_pieces(other, kept) < 0) {
        kept->size = other->size;
        kept->n_insns = other->n_insns;
        kept->sized = other->sized;
    }
    kept->count = count_add(kept->count, other->count);
    kept->passes = count_add(kept->passes, other->passes);
    kept->ends = kept->ends || other->ends;
}

/* `from`: of the pieces that the run's next one may be; moved on. */
static void lay_piece(Weave *weave, size_t *from, const Piece *piece)
{
    Pieces *pieces = &weave->pieces;
    while (*from < pieces->n && pieces->items[*from].addr < piece->addr)
        ++*from;
    if (*from == pieces->n)
        add_piece(weave, pieces, piece);
    else if (pieces->items[*from].addr == piece->addr)
        unite_pieces(&pieces->items[*from], piece);
    else
        add_piece(weave, &weave->strays, piece);
}

static void count_piece(Piece *piece, const Run *run, bool last)
{
    piece->count = count_add(piece->count, run->count);
    if (!last || run->falls)
        piece->passes = count_add(piece->passes, run->count);
    else if (run->ends)
        piece->ends = true;
}

/* Pieces of a run with sizes are counted at once… */
static void take_apart_sized(Weave *weave, const Run *run)
{
    Pieces *pieces = &weave->pieces;
    size_t from = weave->first;
    uint64_t at = run->start;
    for (uint32_t i = 0; i < run->n_insns; at += run->sizes[i++]) {
        bool last = i + 1 == run->n_insns;
        while (from < pieces->n && pieces->items[from].addr < at)
            from++;
        Piece *known = from < pieces->n ? &pieces->items[from] : NULL;
        if (known != NULL && known->addr == at && known->sized && known->size == run->sizes[i]) {
            count_piece(known, run, last);
            continue;
        }
        Piece piece = { .addr = at, .size = run->sizes[i], .n_insns = 1, .sized = true };
        count_piece(&piece, run, last);
        lay_piece(weave, &from, &piece);
    }
}

/* …those of others when all are there. */
static void take_apart(Weave *weave, const Run *run)
{
    uint64_t at = run->start;
    uint64_t end = run->start + run->size;
    while (weave->first < weave->pieces.n && weave->pieces.items[weave->first].addr < at)
        weave->first++;
    if (run->sizes != NULL) {
        take_apart_sized(weave, run);
        return;
    }
    size_t from = weave->first;
    size_t cut = lower_bound(weave->cuts, weave->n_cuts, at + 1);
    while (at < end) {
        while (cut < weave->n_cuts && weave->cuts[cut] <= at)
            cut++;
        uint64_t next = cut < weave->n_cuts && weave->cuts[cut] < end ? weave->cuts[cut] : end;
        lay_piece(weave, &from, &(Piece){ .addr = at, .size = (uint32_t)(next - at) });
        at = next;
    }
}

/* Puts the strays among the pieces, from behind: none is at the address of a piece. */
static void settle_strays(Weave *weave)
{
    Pieces *strays = &weave->strays;
    Pieces *pieces = &weave->pieces;
    size_t n = 0;
    if (strays->n == 0)
        return;
    qsort(strays->items, strays->n, sizeof *strays->items, order_pieces);
    for (size_t i = 1; i < strays->n; i++) {
        if (strays->items[n].addr == strays->items[i].addr)
            unite_pieces(&strays->items[n], &strays->items[i]);
        else
            strays->items[++n] = strays->items[i];
    }
    n++;
    size_t left = pieces->n;
    pieces->items = arena_grow(weave->scratch, pieces->items, &pieces->cap, pieces->n + n,
                               sizeof *pieces->items);
    for (pieces->n += n; n > 0;) {
        bool stray = left == 0 || pieces->items[left - 1].addr < strays->items[n - 1].addr;
        pieces->items[left + n - 1] = stray ? strays->items[n - 1] : pieces->items[left - 1];
        n -= stray;
        left -= !stray;
    }
    strays->n = 0;
}

/* The piece at exactly `addr`, or the first after it; weave->pieces.n: none. */
static size_t find_piece(const Weave *weave, uint64_t addr)
{
    size_t low = 0;
    size_t high = weave->pieces.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (weave->pieces.items[middle].addr < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The piece at exactly `addr`, at or after index `from`; NULL: none. */
static Piece *piece_at(const Weave *weave, size_t from, uint64_t addr)
{
    while (from < weave->pieces.n && weave->pieces.items[from].addr < addr)
        from++;
    return from < weave->pieces.n && weave->pieces.items[from].addr == addr
               ? &weave->pieces.items[from]
               : NULL;
}

/* Gives the pieces of a run without sizes their numbers of instructions. Runs that begin later come
 * first: what they do not explain belongs to the part before them. */
static void number_pieces(Weave *weave, const Run *run)
{
    uint64_t end = run->start + run->size;
    uint32_t known = 0;
    size_t first = find_piece(weave, run->start);
    for (size_t i = first; i < weave->pieces.n && weave->pieces.items[i].addr < end; i++) {
        if (weave->pieces.items[i].n_insns == 0)
            weave->pieces.items[i].n_insns = 1;
        known += weave->pieces.items[i].n_insns;
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
    for (size_t i = 0; i < weave->pieces.n; i++)
        if (!weave->pieces.items[i].sized)
            weave->pieces.items[i].n_insns =
                (weave->pieces.items[i].size + INSN_SIZE_MAX - 1) / INSN_SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        Piece *piece = piece_at(weave, find_piece(weave, runs[i].start), runs[i].start);
        if (piece != NULL && !piece->sized && piece->size == runs[i].size &&
            piece->n_insns < runs[i].n_insns)
            piece->n_insns = runs[i].n_insns;
    }
}

/* Of a run without sizes: all that lies in it. */
static void count_run(Weave *weave, const Run *run)
{
    uint64_t end = run->start + run->size;
    for (size_t i = find_piece(weave, run->start);
         i < weave->pieces.n && weave->pieces.items[i].addr < end; i++)
        count_piece(&weave->pieces.items[i], run,
                    i + 1 == weave->pieces.n || weave->pieces.items[i + 1].addr >= end);
}

static void count_unsized(Weave *weave, const Run *runs, size_t n, bool split_counts)
{
    if (!split_counts)
        number_whole(weave, runs, n);
    for (size_t i = n; i-- > 0;) {
        if (runs[i].sizes != NULL)
            continue;
        if (split_counts)
            number_pieces(weave, &runs[i]);
        count_run(weave, &runs[i]);
    }
}

static void mark_leaders(Weave *weave, const uint64_t *leaders, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        while (at < weave->pieces.n && weave->pieces.items[at].addr < leaders[i])
            at++;
        if (at < weave->pieces.n && weave->pieces.items[at].addr == leaders[i])
            weave->pieces.items[at].leader = true;
    }
}

/* Where an instruction runs into the next one, two paths meet behind it. */
static void mark_straddlers(Weave *weave)
{
    for (size_t i = 0; i + 1 < weave->pieces.n; i++) {
        const Piece *piece = &weave->pieces.items[i];
        if (piece->addr + piece->size <= piece[1].addr)
            continue;
        uint64_t behind = piece->addr + piece->size;
        Piece *meeting = piece_at(weave, find_piece(weave, behind), behind);
        if (meeting != NULL)
            meeting->leader = true;
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
    const Piece *last = &weave->pieces.items[end - 1];
    uint64_t stop = last->addr + last->size;
    if (end < weave->pieces.n && weave->pieces.items[end].addr < stop)
        stop = weave->pieces.items[end].addr;
    ProfileBlock block = { .start = vaddr(weave->pieces.items[from].addr),
                           .size = (uint32_t)(stop - weave->pieces.items[from].addr),
                           .count = weave->pieces.items[from].count };
    bool sized = true;
    for (size_t i = from; i < end; i++) {
        block.n_insns += weave->pieces.items[i].n_insns;
        sized = sized && weave->pieces.items[i].sized;
        sizes[i] = (uint8_t)weave->pieces.items[i].size;
    }
    if (sized)
        block.insn_sizes = sizes + from;
    else if (block.n_insns > block.size)
        block.n_insns = block.size;
    return block;
}

static void form_blocks(Weave *weave, bool split_counts, Woven *out)
{
    uint8_t *sizes = arena_many(weave->arena, uint8_t, weave->pieces.n);
    for (size_t from = 0, end; from < weave->pieces.n; from = end) {
        for (end = from + 1; end < weave->pieces.n; end++)
            if (begins_block(&weave->pieces.items[end], split_counts))
                break;
        out->blocks = arena_grow(weave->arena, out->blocks, &weave->blocks_cap, out->n_blocks + 1,
                                 sizeof *out->blocks);
        out->blocks[out->n_blocks++] = make_block(weave, from, end, sizes);
        const Piece *last = &weave->pieces.items[end - 1];
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
    weave->pieces.n = weave->first = 0;
    bool cut = collect_cuts(weave, runs, n, leaders, n_leaders);
    for (size_t i = 0; i < n; i++)
        take_apart(weave, &runs[i]);
    settle_strays(weave);
    if (cut)
        count_unsized(weave, runs, n, split_counts);
    mark_leaders(weave, leaders, n_leaders);
    mark_straddlers(weave);
    form_blocks(weave, split_counts, out);
}

/* How many of the sorted runs, STRETCH or more, reach to the first address that none of them
 * touches; *end: where they end. */
static size_t find_stretch(const Run *runs, size_t n, uint64_t *end)
{
    enum { STRETCH = 512 };
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
    sort_records(runs, n, sizeof *runs, run_start, order_runs);
    sort_numbers(leaders, n_leaders);
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

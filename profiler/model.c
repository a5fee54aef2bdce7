/*
 * model.c: the caches as arrays in order of use, the windows as a table of stamped lines.
 *
 *     set 17:  [ line|stamp  line|stamp ... ]    8 ways, the newest first
 *
 * A hit moves to the front; most hits are at the front already. An entry packs the number of its
 * line with the number of the window in which it was last fetched, so that a line that hits and
 * carries this window's stamp needs no look into the window's table: the table is asked about once
 * per line and window, and on misses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/model.h"
#include "profiler/vm.h"

#include <asm/unistd.h>

enum {
    LINE_SHIFT = 6,
    PAGE_SHIFT = 12,
    SETS = 64,
    WAYS = 8,
    TLB_ENTRIES = 64,
    BTB_SETS = 1024,
    BTB_WAYS = 4,
    WINDOW_INSNS = 1000000,
    STAMP_BITS = 20, /* 47 - 6 + 20 bits of an entry are used */
    SEEN_LINES = 1 << 17,
    SEEN_PAGES = 1 << 14,
    TEXT_MAX = 512,
    OPEN_APPEND = 02001 | 0100 | 02000000, /* O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC */
};

_Static_assert((SEEN_LINES & (SEEN_LINES - 1)) == 0, "hash tables are powers of two");

/* Different lines (or pages) of the current window: open addressing, entries of older windows are
 * free. A window that fills three quarters of it counts no further ones. */
typedef struct Seen {
    uint32_t mask;
    uint32_t n; /* in this window */
    uint64_t *entries;
} Seen;

struct Model {
    Model *next;
    uint64_t last_line;   /* fetched last; line numbers are stored plus one, so 0 is none */
    uint64_t stamp;       /* number of the current window, from 1; wraps in STAMP_BITS */
    uint64_t insns;       /* in this window so far */
    uint64_t total_insns; /* in complete windows, and in windows cut by model_recycle */
    uint64_t last_end;    /* where the block before ended; 0: there was none */
    uint64_t fetches, line_misses, page_misses, branch_misses;
    uint64_t windows, window_lines, window_pages;
    Seen lines, pages;
    uint64_t cache[SETS][WAYS];
    uint64_t tlb[TLB_ENTRIES];
    uint64_t btb[BTB_SETS][BTB_WAYS];
    uint64_t seen_lines[SEEN_LINES];
    uint64_t seen_pages[SEEN_PAGES];
};

const size_t model_bytes = sizeof(struct Model);

#define STAMP_MASK ((UINT64_C(1) << STAMP_BITS) - 1)
#define BRANCH_MASK (UINT64_MAX >> STAMP_BITS) /* of an address: what an entry has room for */

Model *model_new(void *memory, Model **list)
{
    Model *model = memory;
    model->stamp = 1;
    model->lines = (Seen){ SEEN_LINES - 1, 0, model->seen_lines };
    model->pages = (Seen){ SEEN_PAGES - 1, 0, model->seen_pages };
    model->next = __atomic_load_n(list, __ATOMIC_ACQUIRE);
    while (!__atomic_compare_exchange_n(list, &model->next, model, 0, __ATOMIC_RELEASE,
                                        __ATOMIC_ACQUIRE))
        ;
    return model;
}

static void clear(uint64_t *entries, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((volatile uint64_t *)entries)[i] = 0;
}

/* Counts `number` unless this window has it already. */
static void seen_add(Seen *seen, uint64_t number, uint64_t stamp)
{
    uint64_t entry = number << STAMP_BITS | stamp;
    uint32_t at = (uint32_t)((number * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & seen->mask;
    if (seen->n > seen->mask - seen->mask / 4)
        return;
    for (;; at = (at + 1) & seen->mask) {
        if (seen->entries[at] == entry)
            return;
        if ((seen->entries[at] & STAMP_MASK) != stamp)
            break;
    }
    seen->entries[at] = entry;
    seen->n++;
}

static void next_window(Model *model)
{
    model->total_insns += model->insns;
    model->insns = 0;
    model->lines.n = model->pages.n = 0;
    if (++model->stamp > STAMP_MASK) {
        model->stamp = 1;
        clear(model->seen_lines, SEEN_LINES);
        clear(model->seen_pages, SEEN_PAGES);
    }
}

void model_recycle(Model *model)
{
    next_window(model);
    model->last_line = model->last_end = 0;
    clear(&model->cache[0][0], (size_t)SETS * WAYS);
    clear(model->tlb, TLB_ENTRIES);
    clear(&model->btb[0][0], (size_t)BTB_SETS * BTB_WAYS);
}

void model_forked(Model *list)
{
    for (Model *model = list; model != NULL; model = model->next) {
        model_recycle(model);
        model->total_insns = model->fetches = 0;
        model->line_misses = model->page_misses = model->branch_misses = 0;
        model->windows = model->window_lines = model->window_pages = 0;
    }
}

/* Moves `number` to the front of `ways`, with this window's stamp. Returns the entry that it had
 * before; 0: a miss, the oldest entry left. */
static uint64_t touch(uint64_t *ways, uint32_t n, uint64_t number, uint64_t stamp)
{
    uint64_t carried = number << STAMP_BITS | stamp;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t found = ways[i];
        ways[i] = carried;
        if (found >> STAMP_BITS == number)
            return found;
        carried = found;
    }
    return 0;
}

static void fetch_page(Model *model, uint64_t number)
{
    if (model->tlb[0] == (number << STAMP_BITS | model->stamp))
        return;
    uint64_t found = touch(model->tlb, TLB_ENTRIES, number, model->stamp);
    if (found == 0)
        model->page_misses++;
    if ((found & STAMP_MASK) != model->stamp)
        seen_add(&model->pages, number, model->stamp);
}

static void fetch_line(Model *model, uint64_t number)
{
    model->last_line = number;
    model->fetches++;
    fetch_page(model, ((number - 1) >> (PAGE_SHIFT - LINE_SHIFT)) + 1);
    uint64_t *ways = model->cache[number % SETS];
    if (ways[0] == (number << STAMP_BITS | model->stamp))
        return;
    uint64_t found = touch(ways, WAYS, number, model->stamp);
    if (found == 0)
        model->line_misses++;
    if ((found & STAMP_MASK) != model->stamp)
        seen_add(&model->lines, number, model->stamp);
}

/* Control came here from a branch that ends at `from` and was taken. */
static void take_branch(Model *model, uint64_t from)
{
    uint64_t *ways = model->btb[(from ^ from / BTB_SETS) % BTB_SETS];
    if (ways[0] >> STAMP_BITS != from && touch(ways, BTB_WAYS, from, 1) == 0)
        model->branch_misses++;
}

void model_block(Model *model, uint64_t start, uint32_t size, uint32_t n_insns)
{
    uint64_t line = (start >> LINE_SHIFT) + 1;
    uint64_t end = ((start + size - 1) >> LINE_SHIFT) + 1;
    if (size > 0) {
        if (model->last_end != start && model->last_end != 0)
            take_branch(model, model->last_end & BRANCH_MASK);
        model->last_end = start + size;
        if (line == model->last_line)
            line++;
        for (; line <= end; line++)
            fetch_line(model, line);
    }
    model->insns += n_insns;
    if (__builtin_expect(model->insns >= WINDOW_INSNS, 0)) {
        model->windows++;
        model->window_lines += model->lines.n;
        model->window_pages += model->pages.n;
        model->last_line = 0; /* so that the next window counts the line it begins in */
        next_window(model);
    }
}

typedef struct Text {
    char *out;
    size_t size;
    size_t len;
} Text;

static void text_char(Text *text, char c)
{
    if (text->len < text->size)
        text->out[text->len++] = c;
}

static void text_line(Text *text, const char *name, uint64_t value)
{
    char digits[20];
    int n = 0;
    while (*name != '\0')
        text_char(text, *name++);
    text_char(text, ' ');
    do
        digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    while (n > 0)
        text_char(text, digits[--n]);
    text_char(text, '\n');
}

/* sum / n rounded; `only` when there is nothing to average. */
static uint64_t average(uint64_t sum, uint64_t n, uint64_t only)
{
    return n > 0 ? (sum + n / 2) / n : only;
}

size_t model_text(const Model *list, char *out, size_t size)
{
    uint64_t insns = 0, fetches = 0, line_misses = 0, page_misses = 0, branch_misses = 0;
    uint64_t windows = 0, lines = 0, pages = 0, only_lines = 0, only_pages = 0;
    for (const Model *model = list; model != NULL; model = model->next) {
        insns += model->total_insns + model->insns;
        fetches += model->fetches;
        line_misses += model->line_misses;
        page_misses += model->page_misses;
        branch_misses += model->branch_misses;
        windows += model->windows;
        lines += model->window_lines;
        pages += model->window_pages;
        only_lines += model->lines.n;
        only_pages += model->pages.n;
    }
    Text text = { out, size, 0 };
    text_line(&text, "model", 1);
    text_line(&text, "instructions", insns);
    text_line(&text, "line_fetches", fetches);
    text_line(&text, "icache_misses", line_misses);
    text_line(&text, "itlb_misses", page_misses);
    text_line(&text, "btb_misses", branch_misses);
    text_line(&text, "windows", windows);
    text_line(&text, "window_lines", lines);
    text_line(&text, "window_pages", pages);
    text_line(&text, "lines_per_million", average(lines, windows, only_lines));
    text_line(&text, "pages_per_million", average(pages, windows, only_pages));
    return text.len;
}

_Bool model_write(const Model *list, const char *path)
{
    char text[TEXT_MAX];
    size_t len = model_text(list, text, sizeof text);
    long fd = raw_syscall(__NR_open, (long)path, OPEN_APPEND, 0644, 0, 0, 0);
    if (fd < 0)
        return 0;
    long wrote = raw_syscall(__NR_write, fd, (long)text, (long)len, 0, 0, 0);
    raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
    return wrote == (long)len;
}

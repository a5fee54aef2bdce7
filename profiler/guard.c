/*
 * guard.c: the table of guarded text (guard.h), and opening and closing its pages.
 *
 * One array of ranges, sorted, under one lock that is never held while guest memory is touched: so
 * the handler of a fault may take it. Ranges are split as the guest unmaps or changes parts. A bit
 * for each page says whether it is open.
 *
 * Cost: two system calls a mapping, 3 us for each page that is read. Records of pages are made room
 * for when the mapping is guarded (live_text_room), so that the handler only stores.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/guard.h"
#include "profiler/live.h"
#include "profiler/maps.h"
#include "profiler/memory.h"
#include "profiler/tail.h"
#include "profiler/text.h"

#include <asm/unistd.h>
#include <linux/mman.h>

enum {
    FIRST_CAPACITY = 64,
    VIEWS_SHARE = 8, /* a view takes at most this part of the VM's addresses */
    PAGE_WRITE = 2,  /* page fault error code */
    TEXT_ACCESS = PROT_READ | PROT_EXEC,
};

/* Where the VM reads a mapping's bytes. Addresses are used again, never given back. */
typedef struct View {
    uint64_t at;
    uint64_t size;
    uint32_t n_guards; /* ranges that are left of the mapping */
    struct View *next; /* when free */
} View;

typedef struct Guard {
    uint64_t start;
    uint64_t end;
    uint64_t first; /* address of the mapping's first page: of bit 0, and of the view */
    View *view;
    uint8_t *open; /* bits */
} Guard;

static struct {
    volatile uint32_t lock;
    Guard *guard; /* sorted by address */
    uint32_t n;
    uint32_t capacity;
    uint64_t low; /* of all that ever were */
    uint64_t high;
    uint64_t n_closed; /* pages */
    bool started;
    View *free;
} guards = { .low = UINT64_MAX };

void guard_lock_for_fork(void)
{
    vm_lock(&guards.lock);
}

void guard_unlock_for_fork(void)
{
    vm_unlock(&guards.lock);
}

/* ---- the table; the lock is held ---------------------------------------------------------- */

/* The first range whose end lies above `address`. */
static uint32_t first_above(uint64_t address)
{
    uint32_t low = 0;
    uint32_t high = guards.n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (guards.guard[middle].end > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static Guard *find(uint64_t address)
{
    uint32_t i = first_above(address);
    return i < guards.n && guards.guard[i].start <= address ? &guards.guard[i] : NULL;
}

/* Room for two more; nobody reads the old array without the lock. */
static void grow(void)
{
    if (guards.n + 2 <= guards.capacity)
        return;
    uint32_t capacity = guards.capacity == 0 ? FIRST_CAPACITY : 2 * guards.capacity;
    Guard *bigger = vm_alloc(capacity * sizeof *bigger);
    memcpy(bigger, guards.guard, guards.n * sizeof *bigger);
    guards.guard = bigger;
    guards.capacity = capacity;
}

static void insert(Guard guard)
{
    grow();
    uint32_t i = first_above(guard.start);
    memmove(&guards.guard[i + 1], &guards.guard[i], (guards.n - i) * sizeof guard);
    guards.guard[i] = guard;
    guards.n++;
    guard.view->n_guards++;
    if (guard.start < guards.low)
        guards.low = guard.start;
    if (guard.end > guards.high)
        guards.high = guard.end;
}

static uint64_t page_number(const Guard *guard, uint64_t address)
{
    return (address - guard->first) / VM_PAGE;
}

static bool is_open(const Guard *guard, uint64_t address)
{
    uint64_t page = page_number(guard, address);
    return (guard->open[page / 8] >> page % 8 & 1) != 0;
}

static void set_open(const Guard *guard, uint64_t address)
{
    uint64_t page = page_number(guard, address);
    guard->open[page / 8] |= (uint8_t)(1u << page % 8);
    guards.n_closed--;
}

/* ---- views -------------------------------------------------------------------------------- */

static long map_fixed(uint64_t at, uint64_t size, long prot, long flags, long fd, uint64_t offset)
{
    return raw_syscall(__NR_mmap, (long)at, (long)size, prot, MAP_PRIVATE | MAP_FIXED | flags, fd,
                       (long)offset);
}

static View *view_take(uint64_t size)
{
    for (View **link = &guards.free; *link != NULL; link = &(*link)->next) {
        View *view = *link;
        if (view->size < size)
            continue;
        *link = view->next;
        return view;
    }
    if (size > memory_share(VIEWS_SHARE, 0))
        return NULL;
    View *view = vm_alloc(sizeof *view);
    *view = (View){ .at = (uint64_t)memory_reserve(size, VM_PAGE), .size = size };
    return view;
}

static void view_drop(View *view)
{
    map_fixed(view->at, view->size, PROT_NONE, MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    view->next = guards.free;
    guards.free = view;
}

static uint64_t in_view(const Guard *guard, uint64_t address)
{
    return guard->view->at + (address - guard->first);
}

size_t code_read(uint8_t *to, uint64_t from, size_t size)
{
    size_t all = size, left = 0;
    while (size != 0 && left == 0) {
        uint64_t rest = page_up(from + 1) - from;
        size_t n = rest < size ? (size_t)rest : size;
        vm_lock(&guards.lock);
        const Guard *guard = find(from);
        if (guard != NULL)
            left = vm_copy_code(to, in_view(guard, from), n);
        vm_unlock(&guards.lock);
        if (guard == NULL)
            left = vm_copy_code(to, from, n);
        to += n;
        from += n;
        size -= n;
    }
    return all - size - left;
}

bool code_read_fault(int64_t *gregs)
{
    if ((const char *)gregs[GREG_RIP] != vm_copy_code_reads)
        return false;
    gregs[GREG_RIP] = (int64_t)vm_copy_code_ends;
    return true;
}

uint64_t code_view(uint64_t address)
{
    vm_lock(&guards.lock);
    const Guard *guard = find(address);
    uint64_t at = guard != NULL ? in_view(guard, address) : address;
    vm_unlock(&guards.lock);
    return at;
}

void code_read_done(void)
{
    vm_lock(&guards.lock);
    for (uint32_t i = 0; i < guards.n; i++) {
        const Guard *guard = &guards.guard[i];
        raw_syscall(__NR_madvise, (long)in_view(guard, guard->start),
                    (long)(page_up(guard->end) - guard->start), MADV_DONTNEED, 0, 0, 0);
    }
    vm_unlock(&guards.lock);
}

/* ---- opening and closing; the lock is held ------------------------------------------------ */

static bool set_access(uint64_t start, uint64_t end, long prot)
{
    return raw_syscall(__NR_mprotect, (long)start, (long)(end - start), prot, 0, 0, 0) == 0;
}

static void note(LiveTextKind kind, uint64_t address)
{
    CodeMap map;
    LiveText text = { .address = page_down(address), .map = LIVE_NO_MAP, .kind = kind };
    if (map_find_code(address, &map))
        text.map = map.live;
    live_add_text(&text);
}

/* Notes every closed page of a range as read; it is, or is about to be, accessible. */
static void open_noted(const Guard *guard, uint64_t start, uint64_t end)
{
    for (uint64_t page = start; page < end; page += VM_PAGE) {
        if (is_open(guard, page))
            continue;
        set_open(guard, page);
        note(LIVE_TEXT_READ, page);
    }
}

/* A page of its own may be one mapping too many for the kernel: then the whole range is opened. */
static void open_page(const Guard *guard, uint64_t page)
{
    if (set_access(page, page + VM_PAGE, TEXT_ACCESS)) {
        open_noted(guard, page, page + VM_PAGE);
        return;
    }
    if (!set_access(guard->start, guard->end, TEXT_ACCESS))
        vm_die("a page of text cannot be made readable, at", page);
    open_noted(guard, guard->start, guard->end);
}

static void close_range(const Guard *guard, uint64_t start, uint64_t end)
{
    for (uint64_t page = start; page < end;) {
        uint64_t stop = page;
        while (stop < end && !is_open(guard, stop))
            stop += VM_PAGE;
        if (stop > page && !set_access(page, stop, PROT_NONE))
            open_noted(guard, page, stop);
        page = stop + VM_PAGE;
    }
}

/* Does `work` to the part of each guard that lies in [start, end). */
static void each_part(uint64_t start, uint64_t end,
                      void (*work)(const Guard *guard, uint64_t start, uint64_t end))
{
    vm_lock(&guards.lock);
    for (uint32_t i = first_above(start); i < guards.n && guards.guard[i].start < end; i++) {
        const Guard *guard = &guards.guard[i];
        work(guard, guard->start > start ? guard->start : start,
             guard->end < end ? guard->end : end);
    }
    vm_unlock(&guards.lock);
}

static void lift_part(const Guard *guard, uint64_t start, uint64_t end)
{
    (void)guard;
    set_access(start, end, TEXT_ACCESS);
}

void guard_lift(uint64_t start, uint64_t end)
{
    each_part(start, end, lift_part);
}

void guard_lift_all(void)
{
    each_part(0, UINT64_MAX, lift_part);
}

void guard_close(uint64_t start, uint64_t end)
{
    each_part(start, end, close_range);
}

/* ---- guarding ----------------------------------------------------------------------------- */

void guard_text(uint64_t start, uint64_t size, long fd, uint64_t offset)
{
    if (the_vm.options.out == NULL || fd < 0 || size == 0)
        return;
    vm_lock(&guards.lock);
    View *view = view_take(size);
    if (view != NULL && map_fixed(view->at, size, PROT_READ, 0, fd, offset) != (long)view->at) {
        view_drop(view);
        view = NULL;
    }
    uint64_t pages = size / VM_PAGE;
    if (view != NULL && set_access(start, start + size, PROT_NONE)) {
        guards.n_closed += pages;
        if (guards.started)
            live_text_room(guards.n_closed);
        insert((Guard){ start, start + size, start, view, vm_alloc(pages / 8 + 1) });
    } else if (view != NULL) {
        view_drop(view);
    }
    vm_unlock(&guards.lock);
}

void guard_start(void)
{
    vm_lock(&guards.lock);
    guards.started = true;
    live_text_room(guards.n_closed);
    vm_unlock(&guards.lock);
}

/* Takes [start, end) out of range i, which overlaps it: none, one or two parts stay. */
static void cut(uint32_t i, uint64_t start, uint64_t end)
{
    Guard whole = guards.guard[i];
    Guard part = whole;
    memmove(&guards.guard[i], &guards.guard[i + 1], (guards.n - i - 1) * sizeof whole);
    guards.n--;
    if (whole.end > end) {
        part.start = end;
        insert(part);
    }
    if (whole.start < start) {
        part = whole;
        part.end = start;
        insert(part);
    }
    for (uint64_t page = start; page < end; page += VM_PAGE)
        if (!is_open(&whole, page))
            set_open(&whole, page);
    if (--whole.view->n_guards == 0)
        view_drop(whole.view);
}

void guard_end(uint64_t start, uint64_t end, GuardEnd how)
{
    vm_lock(&guards.lock);
    for (;;) {
        uint32_t i = first_above(start);
        if (i == guards.n || guards.guard[i].start >= end)
            break;
        const Guard *guard = &guards.guard[i];
        uint64_t from = guard->start > start ? guard->start : start;
        uint64_t to = guard->end < end ? guard->end : end;
        if (how != GUARD_GONE)
            set_access(from, to, TEXT_ACCESS);
        if (how == GUARD_READ)
            open_noted(guard, from, to);
        cut(i, from, to);
    }
    vm_unlock(&guards.lock);
}

/* Code that is written in private memory without a file is generated: nobody's text. */
static bool is_of_file(uint64_t address)
{
    LiveMap map;
    return map_describe(address, &map) && map.inode != 0;
}

void guard_note_written(uint64_t start, uint64_t end)
{
    if (the_vm.options.out == NULL)
        return;
    uint64_t noted = UINT64_MAX;
    vm_lock(&guards.lock);
    for (uint64_t page = page_down(start); page < end; page += VM_PAGE) {
        CodeMap map;
        if (!map_find_code(page, &map) || map.checked || map.start == noted || !is_of_file(page))
            continue;
        live_text_room(guards.n_closed + 1);
        note(LIVE_TEXT_WRITTEN, page);
        noted = map.start;
    }
    for (uint32_t i = first_above(start); i < guards.n && guards.guard[i].start < end;) {
        const Guard *guard = &guards.guard[i];
        uint64_t from = guard->start > start ? guard->start : start;
        uint64_t to = guard->end < end ? guard->end : end;
        set_access(from, to, TEXT_ACCESS);
        cut(i, from, to);
        i = first_above(to);
    }
    vm_unlock(&guards.lock);
}

/* ---- reads -------------------------------------------------------------------------------- */

static bool may_be_guarded(uint64_t address)
{
    return address >= guards.low && address < guards.high;
}

bool guard_fault(uint64_t address, uint64_t error)
{
    if ((error & PAGE_WRITE) != 0 || !may_be_guarded(address))
        return false;
    vm_lock(&guards.lock);
    const Guard *guard = find(address);
    if (guard != NULL && !is_open(guard, address))
        open_page(guard, page_down(address));
    vm_unlock(&guards.lock);
    return guard != NULL;
}

bool guard_open(uint64_t address)
{
    if (!may_be_guarded(address))
        return false;
    vm_lock(&guards.lock);
    const Guard *guard = find(address);
    bool closed = guard != NULL && !is_open(guard, address);
    if (closed)
        open_page(guard, page_down(address));
    vm_unlock(&guards.lock);
    return closed;
}

bool guard_covers(uint64_t address)
{
    if (!may_be_guarded(address))
        return false;
    vm_lock(&guards.lock);
    bool covers = find(address) != NULL;
    vm_unlock(&guards.lock);
    return covers;
}

/*
 * watch.c: pages of code that the guest may write to, closed while blocks of them are known.
 *
 * One fault costs about 5 us and the blocks of its page. A page on which code and data lie side by
 * side would fault for ever, so after MOST_FAULTS it is checked. Pages of code that is generated
 * piece by piece see one fault a piece.
 *
 * The table only grows; states change under the lock of maps.h, so that they agree with what the
 * kernel was told.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/watch.h"

#include "profiler/guard.h"
#include "profiler/maps.h"
#include "profiler/memory.h"
#include "profiler/vm.h"

#include <asm/unistd.h>
#include <linux/mman.h>

enum { BUCKETS = 1 << 12, MOST_FAULTS = 32, TURNS_OF_OTHERS = 100 };

typedef enum PageState { PAGE_OPEN, PAGE_CLOSED, PAGE_CHECKED } PageState;

typedef struct WatchPage {
    uint64_t start;
    volatile uint32_t state; /* PageState */
    uint32_t faults;
    struct WatchPage *next; /* in its bucket */
    struct WatchPage *all;  /* every page ever closed */
} WatchPage;

static WatchPage *pages[BUCKETS];
static WatchPage *all_pages;
static volatile uint32_t n_closed;

static WatchPage **bucket_of(uint64_t page)
{
    return &pages[(page / VM_PAGE * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (BUCKETS - 1)];
}

static WatchPage *find(uint64_t address)
{
    uint64_t start = page_down(address);
    WatchPage *page = __atomic_load_n(bucket_of(start), __ATOMIC_ACQUIRE);
    while (page != NULL && page->start != start)
        page = page->next;
    return page;
}

static WatchPage *find_or_make(uint64_t address)
{
    WatchPage *page = find(address);
    if (page != NULL)
        return page;
    page = vm_alloc(sizeof *page);
    page->start = page_down(address);
    page->next = *bucket_of(page->start);
    page->all = all_pages;
    __atomic_store_n(bucket_of(page->start), page, __ATOMIC_RELEASE);
    __atomic_store_n(&all_pages, page, __ATOMIC_RELEASE);
    return page;
}

/* A program that runs natively (burst mode) cannot be watched. */
bool watch_is_checked(uint64_t address)
{
    const WatchPage *page = find(address);
    return the_vm.options.burst != NULL || (page != NULL && page->state == PAGE_CHECKED);
}

bool watch_any(void)
{
    return n_closed != 0;
}

static bool protect(uint64_t page, long access)
{
    return raw_syscall(__NR_mprotect, (long)page, VM_PAGE, access, 0, 0, 0) == 0;
}

/* ---- closing ------------------------------------------------------------------------------ */

/* The lock of maps.h is held. */
static void close_page(uint64_t address)
{
    CodeMap map;
    if (!map_find_code(address, &map) || !map.writable || map.checked)
        return;
    WatchPage *page = find_or_make(address);
    if (page->state != PAGE_OPEN)
        return;
    if (!protect(page->start, PROT_READ | PROT_EXEC)) {
        page->state = PAGE_CHECKED; /* too many mappings */
        return;
    }
    page->state = PAGE_CLOSED;
    n_closed++;
}

static bool needs_closing(uint64_t address)
{
    CodeMap map;
    if (!map_find_code(address, &map) || !map.writable || map.checked)
        return false;
    const WatchPage *page = find(address);
    return page == NULL || page->state == PAGE_OPEN;
}

void watch_close(uint64_t start, uint64_t end)
{
    if (the_vm.options.burst != NULL)
        return; /* pages are the native guest's: every block is compared instead */
    for (uint64_t page = page_down(start); page < end; page += VM_PAGE) {
        if (!needs_closing(page))
            continue;
        maps_lock();
        close_page(page);
        maps_unlock();
    }
}

/* ---- opening ------------------------------------------------------------------------------ */

/* The lock of maps.h is held. */
static void open_page(WatchPage *page)
{
    if (page->state != PAGE_CLOSED)
        return;
    protect(page->start, PROT_READ | PROT_WRITE | PROT_EXEC);
    page->state = PAGE_OPEN;
    n_closed--;
}

/* For a write: its blocks are forgotten. code_lock is held. */
static void give_up(WatchPage *page, bool counts)
{
    interp_forget(page->start, page->start + VM_PAGE);
    if (counts && page->faults == 0)
        guard_note_written(page->start, page->start + VM_PAGE);
    maps_lock();
    open_page(page);
    if (counts && page->faults++ >= MOST_FAULTS)
        page->state = PAGE_CHECKED;
    maps_unlock();
}

static bool let_write(WatchPage *page, bool counts)
{
    bool closed = false;
    vm_lock(&the_vm.code_lock);
    if (page->state == PAGE_CLOSED) {
        give_up(page, counts);
        closed = true;
    }
    vm_unlock(&the_vm.code_lock);
    return closed;
}

bool watch_fault(uint64_t address)
{
    CodeMap map;
    WatchPage *page = find(address);
    if (page == NULL)
        return false;
    /* Another thread may be first, and a third may watch the page anew before the kernel is asked;
     * or it is a fault of the guest's own after all. */
    for (int i = 0; i < TURNS_OF_OTHERS; i++) {
        if (let_write(page, true))
            return true;
        if (!map_find_code(address, &map) || !map.writable)
            return false;
        if (maps_kernel_writable(address))
            return true;
    }
    return false;
}

bool watch_let_write(uint64_t start, uint64_t end)
{
    bool closed = false;
    for (uint64_t at = page_down(start); at < end; at += VM_PAGE) {
        WatchPage *page = find(at);
        if (page != NULL && page->state == PAGE_CLOSED)
            closed |= let_write(page, true);
    }
    return closed;
}

bool watch_let_write_all(void)
{
    bool closed = false;
    WatchPage *page = __atomic_load_n(&all_pages, __ATOMIC_ACQUIRE);
    for (; page != NULL; page = page->all) {
        if (page->state == PAGE_CLOSED)
            closed |= let_write(page, false);
    }
    return closed;
}

void watch_open(uint64_t start, uint64_t end, bool anew)
{
    for (WatchPage *page = all_pages; page != NULL; page = page->all) {
        if (page->start < start || page->start >= end)
            continue;
        if (anew) {
            n_closed -= page->state == PAGE_CLOSED;
            page->state = PAGE_OPEN;
            page->faults = 0;
        } else {
            open_page(page);
        }
    }
}

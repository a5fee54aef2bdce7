/*
 * memory.c: the VM's own memory, and careful access to the guest's.
 *
 * The range is reserved once, without access and without accounting, at an address that sanitizers,
 * allocators and the kernel's own placement leave alone, so that a guest finds the addresses free
 * that it would find without the VM; where that is taken, the kernel chooses.
 *
 * Guest memory is probed through the kernel: rt_sigprocmask with an impossible `how` reads 8 bytes
 * and changes nothing (EINVAL or EFAULT); with no new set it writes 8 bytes. A probe costs 0.1 us,
 * needs no fault handler, no privilege, no file descriptor, and grows stacks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/memory.h"
#include "profiler/guard.h"
#include "profiler/text.h"
#include "profiler/vm.h"
#include "profiler/watch.h"

#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/mman.h>

enum {
    PROBE_BYTES = 8,
    BAD_HOW = 99,
    ALIGNMENT = 16,
    GROW_STEP = 1 << 20,
    SMALL_POOL = 2 * VM_LARGE_PAGE, /* below it, pages are small: most programs never go beyond */
    CLAIMS = 256,
};

/*
 * Where the kernel could place libraries, but below where it ever begins to (its gap under the
 * stack and 28 random bits included): the one part of the address space that the address, memory
 * and thread sanitizers all leave to the program. They fill or seal everything else.
 */
#define REGION_HINT UINT64_C(0x7e8000000000)
#define REGION_SIZE UINT64_C(0x007000000000)
#define REGION_SIZE_BURST UINT64_C(0x004000000000)
#define REGION_LEAST UINT64_C(0x000010000000)

/* A bump allocator over reserved addresses. */
typedef struct Pool {
    uint64_t start;
    uint64_t at;
    uint64_t committed;
    uint64_t end;
} Pool;

static struct {
    volatile uint32_t lock;
    uint64_t start;
    uint64_t at; /* next address that is not yet given out */
    uint64_t end;
    Pool heap;
    Pool code;
    volatile uint32_t n_claims;
    struct {
        uint64_t start, end;
    } claim[CLAIMS];
} memory;

extern const char image_start[] __asm__("__ehdr_start") __attribute__((visibility("hidden")));
extern const char image_end[] __asm__("_end") __attribute__((visibility("hidden")));

static long map_pages(uint64_t at, uint64_t size, long prot, long flags)
{
    return raw_syscall(__NR_mmap, (long)at, (long)size, prot, flags, -1, 0);
}

static bool is_error(long result)
{
    return result < 0 && result >= -4095;
}

bool memory_init(void)
{
    uint64_t most = the_vm.options.burst != NULL ? REGION_SIZE_BURST : REGION_SIZE;
    for (uint64_t size = most; size >= REGION_LEAST; size /= 4) {
        long start =
            map_pages(REGION_HINT, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
        if (is_error(start))
            continue;
        memory.start = memory.at = (uint64_t)start;
        memory.end = memory.start + size;
        raw_syscall(__NR_madvise, start, (long)size, MADV_DONTDUMP, 0, 0, 0);
        return true;
    }
    return false;
}

static uint64_t take_addresses(uint64_t size, uint64_t align)
{
    uint64_t start = (memory.at + align - 1) & ~(align - 1);
    if (start + size > memory.end)
        vm_die("no address space left for the VM, bytes wanted", size);
    memory.at = start + size;
    return start;
}

void *memory_reserve(size_t size, size_t align)
{
    vm_lock(&memory.lock);
    uint64_t start = take_addresses(page_up(size), align < VM_PAGE ? VM_PAGE : align);
    vm_unlock(&memory.lock);
    return (void *)start;
}

size_t memory_share(size_t parts, size_t least)
{
    size_t share = page_up((memory.end - memory.start) / parts);
    return share > least ? share : least;
}

static bool set_access(uint64_t start, uint64_t size, long prot)
{
    return raw_syscall(__NR_mprotect, (long)start, (long)size, prot, 0, 0, 0) == 0;
}

bool memory_commit(void *start, size_t size)
{
    return set_access((uint64_t)start, page_up(size), PROT_READ | PROT_WRITE);
}

void memory_prefer_large(uint64_t start, uint64_t size)
{
    raw_syscall(__NR_madvise, (long)start, (long)size, MADV_HUGEPAGE, 0, 0, 0);
}

/* Small pages in use become large ones. Kernels before 6.1 know no such call: they stay. */
static void collapse(uint64_t start, uint64_t size)
{
    memory_prefer_large(start, size);
    raw_syscall(__NR_madvise, (long)start, (long)size, MADV_COLLAPSE, 0, 0, 0);
}

/*
 * More of the pool becomes usable, in steps. A large pool is in large pages: what is looked up in
 * it lies anywhere, and in small pages each look waited for the TLB.
 */
static bool pool_extend(Pool *pool, uint64_t end, long prot)
{
    bool large = pool->committed - pool->start >= SMALL_POOL && the_vm.options.burst == NULL;
    uint64_t step = large ? VM_LARGE_PAGE : GROW_STEP;
    uint64_t until = (end + step - 1) & ~(step - 1);
    if (until > pool->end)
        until = page_up(end);
    if (!set_access(pool->committed, until - pool->committed, prot))
        return false;
    if (large)
        memory_prefer_large(pool->committed, until - pool->committed);
    if (large && pool->committed == pool->start + SMALL_POOL)
        collapse(pool->start, SMALL_POOL);
    pool->committed = until;
    return true;
}

static void *pool_take(Pool *pool, size_t size, long prot)
{
    vm_lock(&memory.lock);
    uint64_t rounded = (size + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
    if (pool->at + rounded > pool->end) {
        uint64_t part = (memory.end - memory.start) / 16;
        pool->start = pool->at = pool->committed =
            take_addresses(part > rounded ? part : page_up(rounded), VM_LARGE_PAGE);
        pool->end = memory.at;
    }
    if (pool->at + rounded > pool->committed && !pool_extend(pool, pool->at + rounded, prot))
        vm_die("out of memory, bytes wanted", size);
    void *result = (void *)pool->at;
    pool->at += rounded;
    vm_unlock(&memory.lock);
    return result;
}

void *vm_alloc(size_t size)
{
    return pool_take(&memory.heap, size, PROT_READ | PROT_WRITE);
}

uint8_t *vm_alloc_code(size_t size)
{
    return pool_take(&memory.code, size, PROT_READ | PROT_WRITE | PROT_EXEC);
}

void vm_claim(uint64_t start, uint64_t end)
{
    vm_lock(&memory.lock);
    uint32_t n = memory.n_claims;
    if (n == CLAIMS)
        vm_die("too many ranges of the VM's own", n);
    memory.claim[n].start = start;
    memory.claim[n].end = end;
    __atomic_store_n(&memory.n_claims, n + 1, __ATOMIC_RELEASE);
    vm_unlock(&memory.lock);
}

uint64_t memory_vm_size(void)
{
    return memory.end - memory.start + page_up((uint64_t)(image_end - image_start));
}

static bool pool_make_room(Pool *pool, size_t size, long prot)
{
    if (pool->at + size > pool->end)
        return pool->end == 0; /* nothing was taken yet */
    return pool->at + size <= pool->committed || pool_extend(pool, pool->at + size, prot);
}

bool memory_make_room(size_t heap, size_t code)
{
    vm_lock(&memory.lock);
    bool done = pool_make_room(&memory.heap, heap, PROT_READ | PROT_WRITE) &&
                pool_make_room(&memory.code, code, PROT_READ | PROT_WRITE | PROT_EXEC);
    vm_unlock(&memory.lock);
    return done;
}

void memory_range(uint64_t *start, uint64_t *end)
{
    *start = memory.start;
    *end = memory.end;
}

void memory_keep_from_children(void *start, size_t size)
{
    raw_syscall(__NR_madvise, (long)start, (long)page_up(size), MADV_DONTFORK, 0, 0, 0);
}

bool memory_is_vm(uint64_t start, uint64_t end)
{
    uint32_t n = __atomic_load_n(&memory.n_claims, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++) {
        if (start < memory.claim[i].end && end > memory.claim[i].start)
            return true;
    }
    if (start < memory.end && end > memory.start)
        return true;
    return start < page_up((uint64_t)image_end) && end > (uint64_t)image_start;
}

void memory_lock_for_fork(void)
{
    vm_lock(&memory.lock);
}

void memory_unlock_for_fork(void)
{
    vm_unlock(&memory.lock);
}

void *memory_scratch(size_t size)
{
    long start = map_pages(0, page_up(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    return is_error(start) ? NULL : (void *)start;
}

void memory_scratch_free(void *start, size_t size)
{
    if (start != NULL)
        raw_syscall(__NR_munmap, (long)start, (long)page_up(size), 0, 0, 0, 0);
}

/* ---- guest memory ------------------------------------------------------------------------- */

/* A null pointer would be taken for "none given": the first page is asked for at its second word.
 */
static bool probe_read(uint64_t address)
{
    if (address < PROBE_BYTES)
        address = PROBE_BYTES;
    return raw_syscall(__NR_rt_sigprocmask, BAD_HOW, (long)(address & ~(uint64_t)(PROBE_BYTES - 1)),
                       0, PROBE_BYTES, 0, 0) != -EFAULT;
}

static bool probe_write_once(uint64_t address)
{
    return raw_syscall(__NR_rt_sigprocmask, 0, 0, (long)address, PROBE_BYTES, 0, 0) == 0;
}

static bool probe_write(uint64_t address)
{
    if (address == 0)
        return false;
    return probe_write_once(address) ||
           (watch_let_write(address, address + PROBE_BYTES) && probe_write_once(address));
}

/* A page that only the guest's own protection would let be read is read by the guest, in effect. */
static bool readable_page(uint64_t address)
{
    return probe_read(address) || (guard_open(address) && probe_read(address));
}

bool guest_readable(uint64_t address, size_t size)
{
    if (size == 0)
        return true;
    uint64_t last = address + size - 1;
    if (last < address)
        return false;
    for (uint64_t page = page_down(address); page <= last; page += VM_PAGE)
        if (!readable_page(page))
            return false;
    return true;
}

bool guest_writable(uint64_t address, size_t size)
{
    if (size < PROBE_BYTES || address + size < address)
        return false;
    uint64_t end = address + size;
    if (!probe_write(end - PROBE_BYTES) || !probe_write(address))
        return false;
    for (uint64_t page = page_up(address + 1); page + PROBE_BYTES <= end; page += VM_PAGE)
        if (!probe_write(page))
            return false;
    return true;
}

bool guest_read(void *to, uint64_t from, size_t size)
{
    if (!guest_readable(from, size))
        return false;
    memcpy(to, (const void *)from, size);
    return true;
}

bool guest_write(uint64_t to, const void *from, size_t size)
{
    if (!guest_writable(to, size))
        return false;
    memcpy((void *)to, from, size);
    return true;
}

long guest_read_string(char *to, size_t size, uint64_t from)
{
    for (size_t i = 0; i < size; i++) {
        uint64_t address = from + i;
        if ((i == 0 || (address & (VM_PAGE - 1)) == 0) && !readable_page(address))
            return -1;
        to[i] = *(const char *)address;
        if (to[i] == '\0')
            return (long)i;
    }
    return -2;
}

/* ---- locks -------------------------------------------------------------------------------- */

enum { LOCK_FREE, LOCK_HELD, LOCK_WAITED_FOR, FUTEX_WAIT_PRIVATE_OP = 128, FUTEX_WAKE_PRIVATE_OP };

void vm_lock(volatile uint32_t *lock)
{
    uint32_t seen = __sync_val_compare_and_swap(lock, LOCK_FREE, LOCK_HELD);
    while (seen != LOCK_FREE) {
        if (seen == LOCK_WAITED_FOR ||
            __sync_val_compare_and_swap(lock, LOCK_HELD, LOCK_WAITED_FOR) != LOCK_FREE)
            raw_syscall(__NR_futex, (long)(uintptr_t)lock, FUTEX_WAIT_PRIVATE_OP, LOCK_WAITED_FOR,
                        0, 0, 0);
        seen = __sync_val_compare_and_swap(lock, LOCK_FREE, LOCK_WAITED_FOR);
    }
}

void vm_unlock(volatile uint32_t *lock)
{
    if (__atomic_exchange_n(lock, LOCK_FREE, __ATOMIC_RELEASE) == LOCK_WAITED_FOR)
        raw_syscall(__NR_futex, (long)(uintptr_t)lock, FUTEX_WAKE_PRIVATE_OP, 1, 0, 0, 0);
}

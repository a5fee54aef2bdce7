/*
 * vm_double.c: what vm.h asks of the system side, as plainly as it can be.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/vm_double.h"

#include "profiler/area.h"
#include "profiler/watch.h"

#include <asm/unistd.h>
#include <linux/mman.h>

enum { COUNTERS = 1 << 22, SUMS = 1 << 22, BLOCKS = 1 << 20, CHUNK = 64 << 20, ABORTED = 134 };

Vm the_vm;
/* There are no system calls to be cut short. */
const char vm_syscall_again[1], vm_syscall_done[1];
static uint64_t code_start, code_end;
static uint64_t *counters;
static uint32_t n_counters;
static LiveBlock *live_blocks;
static LiveSum *sums;
static uint32_t n_sums;
static uint32_t n_live_blocks;

void vm_double_code(uint64_t start, uint64_t end)
{
    code_start = start;
    code_end = end;
    uint8_t *area = vm_alloc(AREA_BYTES + COUNTERS * sizeof *counters);
    counters = (uint64_t *)(void *)(area + AREA_BYTES);
    live_blocks = vm_alloc(BLOCKS * sizeof *live_blocks);
}

uint64_t *vm_double_counters(void)
{
    return counters;
}

/* As a reader of the live form does it: what is added to last is added first. */
uint64_t vm_double_instructions(void)
{
    static uint64_t *values;
    uint64_t n = 0;
    if (values == NULL)
        values = vm_alloc(COUNTERS * sizeof *values);
    for (uint32_t i = 0; i < n_counters; i++)
        values[i] = counters[i];
    for (uint32_t i = n_sums; i-- > 0;)
        values[sums[i].to] += values[sums[i].from];
    for (uint32_t i = 0; i < n_live_blocks; i++) {
        const LiveBlock *block = &live_blocks[i];
        n += values[block->counter] * block->n_insns;
        if (block->end == LIVE_END_COND)
            n += values[block->counter + 1] * block->n_insns;
    }
    return n;
}

static void *map_new(size_t size, long prot)
{
    long at = raw_syscall(__NR_mmap, 0, (long)size, prot,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at < 0 && at > -4096)
        vm_die("no memory", size);
    return (void *)at;
}

void *vm_alloc(size_t size)
{
    static uint8_t *at, *end;
    size = (size + 15) & ~(size_t)15;
    if (at == NULL || (size_t)(end - at) < size) {
        size_t chunk = size > CHUNK ? size : CHUNK;
        at = map_new(chunk, PROT_READ | PROT_WRITE);
        end = at + chunk;
    }
    at += size;
    return at - size;
}

uint8_t *vm_alloc_code(size_t size)
{
    return map_new(size, PROT_READ | PROT_WRITE | PROT_EXEC);
}

void vm_claim(uint64_t start, uint64_t end)
{
    (void)start;
    (void)end;
}

void vm_die(const char *text, uint64_t value)
{
    (void)value;
    size_t n = 0;
    while (text[n] != '\0')
        n++;
    raw_syscall(__NR_write, 2, (long)(uintptr_t)text, (long)n, 0, 0, 0);
    raw_syscall(__NR_write, 2, (long)(uintptr_t) "\n", 1, 0, 0, 0);
    for (;;)
        raw_syscall(__NR_exit_group, ABORTED, 0, 0, 0, 0, 0);
}

void vm_lock(volatile uint32_t *lock)
{
    if (*lock != 0)
        vm_die("a lock is taken twice", *lock);
    *lock = 1;
}

void vm_unlock(volatile uint32_t *lock)
{
    *lock = 0;
}

bool map_find_code(uint64_t addr, CodeMap *out)
{
    *out = (CodeMap){ .start = code_start, .end = code_end, .live = 0 };
    return addr >= code_start && addr < code_end;
}

uint32_t live_new_counters(uint32_t n)
{
    if (n_counters + n > COUNTERS)
        vm_die("the double has no more counters", n_counters);
    n_counters += n;
    return n_counters - n;
}

uint32_t live_add_block(const LiveBlock *block)
{
    if (n_live_blocks == BLOCKS)
        vm_die("the double has no more live blocks", n_live_blocks);
    live_blocks[n_live_blocks] = *block;
    return n_live_blocks++;
}

uint32_t live_add_edge(const LiveEdge *edge)
{
    (void)edge;
    return 0;
}

void code_read_done(void)
{
}

uint64_t code_view(uint64_t address)
{
    return address;
}

size_t code_read(uint8_t *to, uint64_t from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = ((const uint8_t *)from)[i];
    return size;
}

void live_add_sum(LiveSum sum)
{
    if (sums == NULL)
        sums = vm_alloc(SUMS * sizeof *sums);
    if (n_sums == SUMS)
        vm_die("too many sums for the tests", n_sums);
    sums[n_sums++] = sum;
}

void watch_close(uint64_t start, uint64_t end)
{
    (void)start, (void)end;
}

LiveValue *live_add_value(const LiveValue *value)
{
    LiveValue *record = vm_alloc(sizeof *record);
    *record = *value;
    return record;
}

void live_values_full(void)
{
}

bool live_is_full(void)
{
    return false;
}

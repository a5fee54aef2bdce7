/*
 * self_memory.c: reads and writes of the guest's own memory by /proc/self/mem and process_vm_*.
 *
 *   pwrite(mem, bytes, size, address)   the text is guarded no more, and noted as written
 *                                       the call
 *                                       blocks of what was written are forgotten
 *
 * The kernel serves /proc/self/mem beside all protections: a write to read-only text succeeds and
 * makes a page of the process's own. process_vm_writev keeps to the protections, so closed pages of
 * code are opened before, as for a read(2) into them; what it would read of guarded text is opened,
 * too.
 *
 * Descriptors are known by their link in /proc/self/fd, looked at only after a file named `mem` was
 * opened.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/self_memory.h"
#include "profiler/guard.h"
#include "profiler/maps.h"
#include "profiler/memory.h"
#include "profiler/process.h"
#include "profiler/text.h"
#include "profiler/watch.h"

#include <asm/errno.h>
#include <asm/unistd.h>

enum { PATH_BYTES = 256, LINK_BYTES = 80, MOST_VECTORS = 1024, SEEK_CURRENT = 1 };

/* struct iovec */
typedef struct Part {
    uint64_t start;
    uint64_t size;
} Part;

typedef struct MemoryCall {
    int number;
    bool writes;
    bool
        has_vector; /* argument 1 is an iovec, argument 2 its entries; else a buffer and its size */
    bool has_place; /* argument 3 is where; else the file's position */
} MemoryCall;

static const MemoryCall memory_calls[] = {
    { __NR_read, false, false, false },   { __NR_write, true, false, false },
    { __NR_pread64, false, false, true }, { __NR_pwrite64, true, false, true },
    { __NR_readv, false, true, false },   { __NR_writev, true, true, false },
    { __NR_preadv, false, true, true },   { __NR_pwritev, true, true, true },
    { __NR_preadv2, false, true, true },  { __NR_pwritev2, true, true, true },
};

static volatile bool is_open; /* some descriptor may be such a file */

void self_memory_opened(uint64_t path)
{
    char text[PATH_BYTES];
    if (guest_read_string(text, sizeof text, path) < 0 || text_equal(text_base_name(text), "mem"))
        is_open = true;
}

static const MemoryCall *find_call(int64_t number)
{
    for (unsigned i = 0; i < sizeof memory_calls / sizeof memory_calls[0]; i++)
        if (memory_calls[i].number == number)
            return &memory_calls[i];
    return NULL;
}

static bool is_memory_file(uint64_t fd)
{
    char name[LINK_BYTES];
    Text link;
    text_start(&link);
    text_put(&link, "/proc/self/fd/");
    text_put_dec(&link, (uint32_t)fd);
    long len = raw_syscall(__NR_readlink, (long)link.bytes, (long)name, LINK_BYTES - 1, 0, 0, 0);
    if (len <= 0)
        return false;
    name[len] = '\0';
    return process_owns_path(name, "/mem");
}

static bool is_to_self(const Call *call)
{
    return (call->number == __NR_process_vm_readv || call->number == __NR_process_vm_writev) &&
           (int32_t)call->arg[0] == (int32_t)raw_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
}

bool self_memory_takes(const Call *call)
{
    if (is_to_self(call))
        return true;
    return is_open && find_call(call->number) != NULL && is_memory_file(call->arg[0]);
}

/* ---- reading ------------------------------------------------------------------------------ */

static void note_read(uint64_t start, uint64_t size)
{
    uint64_t end = start + size;
    for (uint64_t page = page_down(start); page < end && page >= page_down(start); page += VM_PAGE)
        if (!guard_open(page) && !guard_covers(page))
            return;
}

/* ---- the file ----------------------------------------------------------------------------- */

static uint64_t size_of(const MemoryCall *how, const Call *call)
{
    if (!how->has_vector)
        return call->arg[2];
    uint64_t size = 0;
    for (uint64_t i = 0; i < call->arg[2] && i < MOST_VECTORS; i++) {
        Part part;
        if (!guest_read(&part, call->arg[1] + i * sizeof part, sizeof part))
            break;
        size += part.size;
    }
    return size;
}

/* pwritev2's -1 stands for the position, too. */
static uint64_t place_of(const MemoryCall *how, const Call *call)
{
    if (how->has_place && call->arg[3] != UINT64_MAX)
        return call->arg[3];
    return (uint64_t)raw_syscall(__NR_lseek, (long)call->arg[0], 0, SEEK_CURRENT, 0, 0, 0);
}

static CallFate use_file(Thread *thread, Call *call, const MemoryCall *how)
{
    uint64_t start = place_of(how, call);
    uint64_t size = size_of(how, call);
    uint64_t end = start + size < start ? UINT64_MAX : start + size;
    if (memory_is_vm(start, end)) { /* as if nothing were there */
        call->result = -EIO;
        return CALL_DONE;
    }
    bool changes = how->writes && maps_touch_code(start, end);
    if (changes) {
        vm_lock(&the_vm.code_lock);
        guard_note_written(page_down(start), page_up(end));
        vm_unlock(&the_vm.code_lock);
    } else if (!how->writes) {
        note_read(start, size);
    }
    CallFate fate = syscall_pass(thread, call);
    if (changes)
        interp_invalidate(start, end);
    return fate;
}

/* ---- process_vm_readv, process_vm_writev -------------------------------------------------- */

static CallFate use_process(Thread *thread, Call *call)
{
    for (uint64_t i = 0; i < call->arg[4] && i < MOST_VECTORS; i++) {
        Part part;
        if (!guest_read(&part, call->arg[3] + i * sizeof part, sizeof part))
            break;
        if (call->number == __NR_process_vm_readv)
            note_read(part.start, part.size);
        else if (watch_any() && maps_touch_code(part.start, part.start + part.size))
            watch_let_write(part.start, part.start + part.size);
    }
    return syscall_pass(thread, call);
}

CallFate self_memory_call(Thread *thread, Call *call)
{
    const MemoryCall *how = find_call(call->number);
    return how != NULL ? use_file(thread, call, how) : use_process(thread, call);
}

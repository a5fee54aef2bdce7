/*
 * mapping_calls.c: brk, mmap, munmap, mprotect, mremap, madvise, shmat, shmdt,
 * remap_file_pages, mseal.
 *
 * Calls that touch no code and none of the VM go straight to the kernel. Those that do run under
 * the lock of the table of code, and decoded code is forgotten afterwards. What would harm the VM
 * is refused with ENOMEM, as if the addresses were out of the guest's reach.
 *
 * brk is the kernel's where it could be told where the guest's heap begins (proc_view.c); elsewhere
 * it would grow from the end of respin-vm, so it is the VM's own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/mapping_calls.h"
#include "profiler/guard.h"
#include "profiler/maps.h"
#include "profiler/memory.h"
#include "profiler/watch.h"

#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/ipc.h>
#include <linux/mman.h>
#include <linux/shm.h>

static struct {
    volatile uint32_t lock;
    bool kernel_knows;
    uint64_t start;
    uint64_t now;
} heap;

static bool succeeded(const Call *call)
{
    return call->result >= 0 || call->result < -4095;
}

static CallFate refuse(Call *call, int64_t code)
{
    call->result = -code;
    return CALL_DONE;
}

/* ---- brk ---------------------------------------------------------------------------------- */

void brk_lock_for_fork(void)
{
    vm_lock(&heap.lock);
}

void brk_unlock_for_fork(void)
{
    vm_unlock(&heap.lock);
}

void brk_init(uint64_t start, bool kernel_knows)
{
    heap.kernel_knows = kernel_knows;
    heap.start = heap.now = start;
}

static bool heap_resize(uint64_t wanted)
{
    uint64_t old_end = page_up(heap.now);
    uint64_t new_end = page_up(wanted);
    if (new_end < old_end)
        return raw_syscall(__NR_munmap, (long)new_end, (long)(old_end - new_end), 0, 0, 0, 0) == 0;
    if (new_end == old_end)
        return true;
    long got =
        raw_syscall(__NR_mmap, (long)old_end, (long)(new_end - old_end), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return got == (long)old_end;
}

CallFate call_brk(Thread *thread, Call *call)
{
    uint64_t wanted = call->arg[0];
    if (heap.kernel_knows)
        return syscall_pass(thread, call);
    vm_lock(&heap.lock);
    if (wanted >= heap.start && wanted < UINT64_C(1) << 47 && heap_resize(wanted))
        heap.now = wanted;
    call->result = (int64_t)heap.now;
    vm_unlock(&heap.lock);
    return CALL_DONE;
}

/* ---- mappings ----------------------------------------------------------------------------- */

/* What becomes of guarded text in the ranges that a call changes. */
typedef enum GuardFate {
    GUARDS_STAY, /* the call changes nothing that matters to them */
    GUARDS_END,  /* with the mapping, if the call succeeds */
    GUARDS_READ, /* text that goes elsewhere, or changes its protection, counts as read */
} GuardFate;

static void guards_before(const uint64_t range[4], GuardFate guards)
{
    for (int i = 0; i < 4; i += 2) {
        if (guards == GUARDS_STAY)
            guard_lift(range[i], range[i + 1]);
        if (guards == GUARDS_READ)
            guard_end(range[i], range[i + 1], GUARD_READ);
    }
}

/* The kernel's view is the guest's in between: what is closed, is closed after it was asked. */
static void guards_after(const uint64_t range[4], GuardFate guards, bool done)
{
    for (int i = 0; i < 4; i += 2) {
        if (guards == GUARDS_STAY)
            guard_close(range[i], range[i + 1]);
        if (guards == GUARDS_END && done)
            guard_end(range[i], range[i + 1], GUARD_GONE);
    }
}

/* Runs a call that may change code in up to two ranges; the kernel's view of them is taken over. */
static CallFate pass_changing(Thread *thread, Call *call, const uint64_t range[4], GuardFate guards)
{
    maps_lock();
    guards_before(range, guards);
    for (int i = 0; i < 4; i += 2)
        watch_open(range[i], range[i + 1], false);
    CallFate fate = syscall_pass(thread, call);
    if (fate == CALL_DONE)
        for (int i = 0; i < 4; i += 2)
            if (range[i] < range[i + 1])
                maps_refresh(range[i], range[i + 1]);
    guards_after(range, guards, fate == CALL_DONE && succeeded(call));
    maps_unlock();
    if (fate == CALL_DONE)
        for (int i = 0; i < 4; i += 2)
            if (range[i] < range[i + 1])
                interp_invalidate(range[i], range[i + 1]);
    return fate;
}

CallFate call_mmap(Thread *thread, Call *call)
{
    uint64_t start = call->arg[0];
    uint64_t size = page_up(call->arg[1]);
    uint64_t prot = call->arg[2];
    uint64_t flags = call->arg[3];
    bool fixed = (flags & MAP_FIXED) != 0;
    bool executable = (prot & PROT_EXEC) != 0;
    if (fixed && memory_is_vm(start, start + size))
        return refuse(call, ENOMEM);
    if (!executable && !(fixed && maps_touch_code(start, start + size)))
        return syscall_pass(thread, call);
    vm_lock(&the_vm.code_lock);
    maps_lock();
    CallFate fate = syscall_pass(thread, call);
    bool mapped = fate == CALL_DONE && succeeded(call);
    uint64_t at = (uint64_t)call->result;
    if (mapped) {
        maps_remove(at, at + size);
        guard_end(at, at + size, GUARD_GONE);
        long fd = (flags & MAP_ANONYMOUS) != 0 ? -1 : (int32_t)call->arg[4];
        MapAccess access = { .writable = (prot & PROT_WRITE) != 0,
                             .shared = (flags & MAP_TYPE) != MAP_PRIVATE };
        watch_open(at, at + size, true);
        if (executable)
            maps_add(at, at + size, fd, call->arg[5], access);
        if (prot == (PROT_READ | PROT_EXEC) && !access.shared)
            guard_text(at, size, fd, call->arg[5]);
    }
    maps_unlock();
    vm_unlock(&the_vm.code_lock);
    if (mapped)
        interp_invalidate(at, at + size);
    return fate;
}

CallFate call_munmap(Thread *thread, Call *call)
{
    uint64_t start = call->arg[0];
    uint64_t end = page_up(start + call->arg[1]);
    if (memory_is_vm(start, end))
        return refuse(call, EINVAL);
    if (!maps_touch_code(start, end))
        return syscall_pass(thread, call);
    return pass_changing(thread, call, (uint64_t[4]){ start, end, 0, 0 }, GUARDS_END);
}

CallFate call_mprotect(Thread *thread, Call *call)
{
    uint64_t start = call->arg[0];
    uint64_t end = page_up(start + call->arg[1]);
    if (memory_is_vm(start, end))
        return refuse(call, ENOMEM);
    uint64_t prot = call->arg[2];
    if ((prot & PROT_EXEC) == 0 && !maps_touch_code(start, end))
        return syscall_pass(thread, call);
    if ((prot & PROT_WRITE) != 0) {
        vm_lock(&the_vm.code_lock);
        guard_note_written(start, end);
        vm_unlock(&the_vm.code_lock);
    }
    return pass_changing(thread, call, (uint64_t[4]){ start, end, 0, 0 },
                         prot == (PROT_READ | PROT_EXEC) ? GUARDS_STAY : GUARDS_READ);
}

CallFate call_mremap(Thread *thread, Call *call)
{
    uint64_t from = call->arg[0];
    uint64_t from_end = page_up(from + call->arg[1]);
    uint64_t size = page_up(call->arg[2]);
    bool fixed = (call->arg[3] & MREMAP_FIXED) != 0;
    uint64_t to = fixed ? call->arg[4] : 0;
    uint64_t to_end = fixed ? to + size : 0;
    if (memory_is_vm(from, from_end) || (fixed && memory_is_vm(to, to_end)))
        return refuse(call, EFAULT);
    if (!maps_touch_code(from, from_end) && !(fixed && maps_touch_code(to, to_end)))
        return syscall_pass(thread, call);
    /* Code that moved to an address of the kernel's choice is found when it is first jumped to. */
    return pass_changing(thread, call, (uint64_t[4]){ from, from_end, to, to_end }, GUARDS_READ);
}

CallFate call_madvise(Thread *thread, Call *call)
{
    uint64_t start = call->arg[0];
    uint64_t end = page_up(start + call->arg[1]);
    if (memory_is_vm(start, end))
        return refuse(call, ENOMEM);
    if (!maps_touch_code(start, end))
        return syscall_pass(thread, call);
    return pass_changing(thread, call, (uint64_t[4]){ start, end, 0, 0 }, GUARDS_STAY);
}

/* ---- shared segments of System V ------------------------------------------------------------ */

/* Bytes of a segment; 0: there is none, as the kernel will say. */
static uint64_t segment_size(uint64_t id)
{
    struct shmid64_ds about = { 0 };
    return raw_syscall(__NR_shmctl, (long)id, IPC_STAT, (long)&about, 0, 0, 0) == 0
               ? about.shm_segsz
               : 0;
}

/* What is attached at an address of the kernel's choice is found when it is first jumped to. */
CallFate call_shmat(Thread *thread, Call *call)
{
    uint64_t start = page_down(call->arg[1]);
    uint64_t end = start + page_up(segment_size(call->arg[0]));
    if (start != 0 && memory_is_vm(start, end))
        return refuse(call, ENOMEM);
    if (start == 0 || !maps_touch_code(start, end))
        return syscall_pass(thread, call);
    return pass_changing(thread, call, (uint64_t[4]){ start, end, 0, 0 }, GUARDS_END);
}

CallFate call_shmdt(Thread *thread, Call *call)
{
    CodeMap map;
    if (!map_find_code(call->arg[0], &map))
        return syscall_pass(thread, call);
    return pass_changing(thread, call, (uint64_t[4]){ map.start, map.end, 0, 0 }, GUARDS_END);
}

/* ---- calls without which the VM would not see text ------------------------------------------ */

static CallFate change_in_place(Thread *thread, Call *call, int64_t code)
{
    uint64_t start = page_down(call->arg[0]);
    uint64_t end = page_up(call->arg[0] + call->arg[1]);
    if (memory_is_vm(start, end))
        return refuse(call, code);
    if (!maps_touch_code(start, end))
        return syscall_pass(thread, call);
    return pass_changing(thread, call, (uint64_t[4]){ start, end, 0, 0 }, GUARDS_READ);
}

/* What the mapping shows of its file changes. */
CallFate call_remap_file_pages(Thread *thread, Call *call)
{
    return change_in_place(thread, call, EINVAL);
}

/* The protections of what is sealed are the guest's from here on, the VM cannot change them either.
 */
CallFate call_mseal(Thread *thread, Call *call)
{
    return change_in_place(thread, call, ENOMEM);
}

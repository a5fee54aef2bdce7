/*
 * detach.c: the way out of the VM, for what it cannot live under.
 *
 * A filter of system calls that the guest lays over itself would also filter the VM's own, which
 * the guest does not know of. So before such a call the guest is given back its registers, its
 * signal handlers and its alternate stack, and makes the call natively. Counting ends
 * (LIVE_DETACHED); what was counted stays. The heap that brk made stays too: the kernel's own brk
 * answers from elsewhere, and allocators then use mmap, as they do whenever brk has no room.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/detach.h"
#include "profiler/gs_calls.h"
#include "profiler/guard.h"
#include "profiler/limit_calls.h"
#include "profiler/live.h"
#include "profiler/signals.h"
#include "profiler/text.h"
#include "profiler/threads.h"
#include "profiler/watch.h"

void vm_go_native(const Cpu *cpu) __attribute__((noreturn, visibility("hidden")));

void detach(Thread *thread, const char *why)
{
    Text text;
    text_start(&text);
    if (!threads_is_only(thread)) {
        text_put(&text, "a program of several threads cannot leave the VM, but must: ");
        text_put(&text, why);
        text_put(&text, "; at");
        vm_die(text.bytes, thread->cpu.pc);
    }
    text_put(&text, "the program runs on natively, without a profile: ");
    text_put(&text, why);
    vm_say(text.bytes);
    live_mark(LIVE_DETACHED, true);
    guard_lift_all();
    signals_give_back(thread);
    gs_give_back(thread);
    limits_give_back(thread);
    watch_let_write_all();
    vm_go_native(&thread->cpu);
}

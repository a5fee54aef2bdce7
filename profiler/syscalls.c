/*
 * syscalls.c: which system calls the VM keeps for itself, and how all others pass.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/syscalls.h"
#include "profiler/detach.h"
#include "profiler/filter.h"
#include "profiler/gs_calls.h"
#include "profiler/live.h"
#include "profiler/guard.h"
#include "profiler/limit_calls.h"
#include "profiler/lock_calls.h"
#include "profiler/mapping_calls.h"
#include "profiler/maps_view.h"
#include "profiler/memory.h"
#include "profiler/process.h"
#include "profiler/ptrace_calls.h"
#include "profiler/self_memory.h"
#include "profiler/sigmask.h"
#include "profiler/signals.h"
#include "profiler/text.h"
#include "profiler/thread.h"
#include "profiler/threads.h"
#include "profiler/watch.h"

#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>

int vm_guest_syscall(Call *call, volatile const uint32_t *pending)
    __attribute__((visibility("hidden")));

CallFate syscall_pass(Thread *thread, Call *call)
{
    return vm_guest_syscall(call, &thread->cpu.pending) != 0 ? CALL_AGAIN : CALL_DONE;
}

static CallFate done(Call *call, long result)
{
    call->result = result;
    return CALL_DONE;
}

/* ---- signals ------------------------------------------------------------------------------ */

static CallFate call_sigaction(Thread *thread, Call *call)
{
    return done(call,
                signals_action(thread, call->arg[0], call->arg[1], call->arg[2], call->arg[3]));
}

static CallFate call_sigaltstack(Thread *thread, Call *call)
{
    return done(call, signals_alt_stack(thread, call->arg[0], call->arg[1]));
}

static CallFate call_sigreturn(Thread *thread, Call *call)
{
    (void)call;
    signals_return(thread);
    return CALL_SET;
}

/* Calls that wait with a mask of their own: a handler that ends the wait starts from that mask. */
static CallFate wait_with(Thread *thread, Call *call, uint64_t mask)
{
    ThreadOs *os = thread->os;
    os->has_wait_mask = mask != 0 && guest_read(&os->wait_mask, mask, sizeof os->wait_mask);
    CallFate fate = syscall_pass(thread, call);
    os->has_wait_mask = false;
    return fate;
}

static CallFate call_sigsuspend(Thread *thread, Call *call)
{
    return wait_with(thread, call, call->arg[0]);
}

static CallFate call_ppoll(Thread *thread, Call *call)
{
    return wait_with(thread, call, call->arg[3]);
}

static CallFate call_epoll_pwait(Thread *thread, Call *call)
{
    return wait_with(thread, call, call->arg[4]);
}

/* Its last argument points to { mask, size }. */
static CallFate call_pselect(Thread *thread, Call *call)
{
    uint64_t pair[2] = { 0 };
    if (call->arg[5] != 0)
        guest_read(pair, call->arg[5], sizeof pair);
    return wait_with(thread, call, pair[0]);
}

/* ---- threads and processes ---------------------------------------------------------------- */

static CallFate clone_with(Thread *thread, Call *call, uint64_t flags, uint64_t stack)
{
    bool shares_memory = (flags & CLONE_VM) != 0;
    return done(call, shares_memory ? thread_clone(thread, call, flags, stack)
                                    : process_fork(thread, call, flags, stack));
}

static CallFate call_clone(Thread *thread, Call *call)
{
    return clone_with(thread, call, call->arg[0], call->arg[1]);
}

static CallFate call_clone3(Thread *thread, Call *call)
{
    enum { LEAST = 64, MOST = 88 };
    struct clone_args args;
    uint64_t size = call->arg[1];
    memset(&args, 0, sizeof args);
    if (size < LEAST) /* the kernel's error */
        return syscall_pass(thread, call);
    if (size > VM_PAGE)
        return done(call, -E2BIG);
    if (!guest_readable(call->arg[0], size))
        return done(call, -EFAULT);
    for (uint64_t i = MOST; i < size; i++)
        if (((const uint8_t *)call->arg[0])[i] != 0) /* a field newer than this */
            return done(call, -E2BIG);
    call->arg[1] = size = size < MOST ? size : MOST;
    memcpy(&args, (const void *)call->arg[0], size < sizeof args ? size : sizeof args);
    if ((args.stack == 0) != (args.stack_size == 0))
        return done(call, -EINVAL);
    return clone_with(thread, call, args.flags, args.stack + args.stack_size);
}

static CallFate call_fork(Thread *thread, Call *call)
{
    return clone_with(thread, call, 0, 0);
}

static CallFate call_vfork(Thread *thread, Call *call)
{
    return clone_with(thread, call, CLONE_VM | CLONE_VFORK | SIGNAL_CHLD, 0);
}

static CallFate call_exit(Thread *thread, Call *call)
{
    if (threads_leave(thread))
        process_end(thread, call->arg[0]);
    thread_exit(thread, call->arg[0]);
}

static CallFate call_exit_group(Thread *thread, Call *call)
{
    process_end(thread, call->arg[0]);
}

/* ---- names of the guest's own program ----------------------------------------------------- */

static CallFate pass_path(Thread *thread, Call *call, int argument)
{
    uint64_t given = call->arg[argument];
    if (given != 0 && process_is_own(given, "/exe"))
        call->arg[argument] = (uint64_t)process_exe();
    return syscall_pass(thread, call);
}

/* /proc/self/exe, and what lists the process's mappings. */
static CallFate open_path(Thread *thread, Call *call, int argument)
{
    uint64_t given = call->arg[argument];
    bool lists_maps = given != 0 && maps_view_is_wanted(given);
    CallFate fate = pass_path(thread, call, argument);
    if (fate == CALL_DONE && lists_maps && call->result >= 0)
        maps_view_replace(call->result);
    if (fate == CALL_DONE && call->result >= 0)
        self_memory_opened(given);
    return fate;
}

static CallFate call_open(Thread *thread, Call *call)
{
    return open_path(thread, call, 0);
}

static CallFate call_open_at(Thread *thread, Call *call)
{
    return open_path(thread, call, 1);
}

static CallFate call_path(Thread *thread, Call *call)
{
    return pass_path(thread, call, 0);
}

static CallFate call_path_at(Thread *thread, Call *call)
{
    return pass_path(thread, call, 1);
}

/* AT_SYMLINK_NOFOLLOW asks about the link itself, which is a link in any case. */
static CallFate call_stat_at(Thread *thread, Call *call)
{
    enum { NOFOLLOW = 0x100 };
    uint64_t flags = call->number == __NR_statx ? call->arg[2] : call->arg[3];
    return (flags & NOFOLLOW) != 0 ? syscall_pass(thread, call) : pass_path(thread, call, 1);
}

static CallFate read_link(Thread *thread, Call *call, const uint64_t arg[3])
{
    enum { PROBED = 8 };
    if (!process_is_own(arg[0], "/exe") || (int32_t)arg[2] <= 0)
        return syscall_pass(thread, call);
    size_t len = strlen(process_exe());
    size_t size = len < arg[2] ? len : (size_t)arg[2];
    if (size >= PROBED ? !guest_writable(arg[1], size) : !guest_readable(arg[1], size))
        return done(call, -EFAULT);
    memcpy((void *)arg[1], process_exe(), size);
    return done(call, (long)size);
}

static CallFate call_readlink(Thread *thread, Call *call)
{
    return read_link(thread, call, call->arg);
}

static CallFate call_readlinkat(Thread *thread, Call *call)
{
    return read_link(thread, call, &call->arg[1]);
}

/* ---- what the VM cannot let pass ---------------------------------------------------------- */

static CallFate call_refuse_enosys(Thread *thread, Call *call)
{
    (void)thread;
    return done(call, -ENOSYS);
}

/* A filter (else: the strict mode, with nothing but read, write and exit) is about to be set. */
static void leave_under_filter(Thread *thread, bool is_filter, uint64_t program)
{
    if (!is_filter || !filter_lets_vm_live(program))
        detach(thread, "it filters its system calls (seccomp), the VM's would be caught");
}

static CallFate call_prctl(Thread *thread, Call *call)
{
    enum { SYSCALL_DISPATCH = 59, DENY_WRITE_EXECUTE = 65 };
    if (call->arg[0] == SYSCALL_DISPATCH || call->arg[0] == PR_SET_MM)
        return done(call, -EINVAL);
    if (call->arg[0] == PR_SET_SECCOMP)
        leave_under_filter(thread, call->arg[1] == SECCOMP_MODE_FILTER, call->arg[2]);
    if (call->arg[0] == DENY_WRITE_EXECUTE)
        detach(thread, "it forbids writable code, and the VM needs some");
    return syscall_pass(thread, call);
}

static CallFate call_arch_prctl(Thread *thread, Call *call)
{
    enum { SHADOW_STACK_FIRST = 0x5001, SHADOW_STACK_LAST = 0x5005 };
    if (call->arg[0] >= SHADOW_STACK_FIRST && call->arg[0] <= SHADOW_STACK_LAST)
        return done(call, -EINVAL);
    if (gs_arch_prctl(thread, call))
        return CALL_DONE;
    return syscall_pass(thread, call);
}

static CallFate call_seccomp(Thread *thread, Call *call)
{
    if (call->arg[0] <= SECCOMP_SET_MODE_FILTER)
        leave_under_filter(thread, call->arg[0] == SECCOMP_SET_MODE_FILTER, call->arg[2]);
    return syscall_pass(thread, call);
}

/* What the process becomes: its effective user, where the call changes it. */
static CallFate change_user(Thread *thread, Call *call, uint64_t user)
{
    vm_lock(&thread->vm->code_lock);
    live_prepare_change((uint32_t)user);
    vm_unlock(&thread->vm->code_lock);
    return syscall_pass(thread, call);
}

static CallFate call_set_user(Thread *thread, Call *call)
{
    return change_user(thread, call, call->arg[0]);
}

static CallFate call_set_users(Thread *thread, Call *call)
{
    return change_user(thread, call, call->arg[1]);
}

static CallFate call_set_root(Thread *thread, Call *call)
{
    return change_user(thread, call, LIVE_SAME_USER);
}

#ifndef __NR_mseal
#define __NR_mseal 462 /* Linux 6.10 */
#endif

/* ---- the table ---------------------------------------------------------------------------- */

/* Every system call that does not simply pass, and why not. docs/vm.md shows this list. */
/* clang-format off */
#define VIRTUALIZED(X)                                                                       \
    X(rt_sigaction,      call_sigaction,     "handlers run as guest code")                   \
    X(rt_sigreturn,      call_sigreturn,     "the guest's registers are the VM's")           \
    X(rt_sigprocmask,    call_sigprocmask,   "the VM needs SIGSEGV and SIGTRAP itself")                  \
    X(sigaltstack,       call_sigaltstack,   "the host's is the VM's")                       \
    X(rt_sigsuspend,     call_sigsuspend,    "handlers start from its mask")                 \
    X(ppoll,             call_ppoll,         "handlers start from its mask")                 \
    X(pselect6,          call_pselect,       "handlers start from its mask")                 \
    X(epoll_pwait,       call_epoll_pwait,   "handlers start from its mask")                 \
    X(epoll_pwait2,      call_epoll_pwait,   "handlers start from its mask")                 \
    X(io_pgetevents,     call_pselect,       "handlers start from its mask")                 \
    X(brk,               call_brk,           "the kernel's follows respin-vm")               \
    X(mmap,              call_mmap,          "may map code, or hit the VM")                  \
    X(munmap,            call_munmap,        "may drop code, or hit the VM")                 \
    X(mprotect,          call_mprotect,      "may make code, or hit the VM")                 \
    X(pkey_mprotect,     call_mprotect,      "may make code, or hit the VM")                 \
    X(mremap,            call_mremap,        "may move code, or hit the VM")                 \
    X(madvise,           call_madvise,       "may drop code, or hit the VM")                 \
    X(shmat,             call_shmat,         "may cover code, or hit the VM")                \
    X(shmdt,             call_shmdt,         "may drop code")                                \
    X(remap_file_pages,  call_remap_file_pages, "may change code, or hit the VM")            \
    X(mseal,             call_mseal,         "text could not be opened any more")            \
    X(mlock,             call_mlock,         "text is closed to the guest's reads")          \
    X(mlock2,            call_mlock,         "text is closed to the guest's reads")          \
    X(mlockall,          call_mlockall,      "the VM's memory is not the guest's")           \
    X(clone,             call_clone,         "the child needs a VM thread or a live file")   \
    X(clone3,            call_clone3,        "the child needs a VM thread or a live file")   \
    X(fork,              call_fork,          "the child needs a live file")                  \
    X(vfork,             call_vfork,         "the child needs a VM thread")                  \
    X(execve,            process_execve,     "the new program runs under the VM")            \
    X(execveat,          process_execveat,   "the new program runs under the VM")            \
    X(exit,              call_exit,          "the thread's slot is given back")              \
    X(exit_group,        call_exit_group,    "the profile is finished")                      \
    X(open,              call_open,         "/proc/self/exe and maps are the guest's")       \
    X(openat,            call_open_at,      "/proc/self/exe and maps are the guest's")       \
    X(openat2,           call_open_at,      "/proc/self/exe and maps are the guest's")       \
    X(stat,              call_path,          "/proc/self/exe is the guest's")                \
    X(access,            call_path,          "/proc/self/exe is the guest's")                \
    X(faccessat,         call_path_at,       "/proc/self/exe is the guest's")                \
    X(faccessat2,        call_path_at,       "/proc/self/exe is the guest's")                \
    X(newfstatat,        call_stat_at,       "/proc/self/exe is the guest's")                \
    X(statx,             call_stat_at,       "/proc/self/exe is the guest's")                \
    X(readlink,          call_readlink,      "/proc/self/exe is the guest's")                \
    X(readlinkat,        call_readlinkat,    "/proc/self/exe is the guest's")                \
    X(setrlimit,         call_setrlimit,    "the VM needs addresses, too")                   \
    X(getrlimit,         call_getrlimit,    "the VM needs addresses, too")                   \
    X(prlimit64,         call_prlimit,      "the VM needs addresses, too")                   \
    X(rseq,              call_refuse_enosys, "the kernel would see the VM's addresses")      \
    X(ptrace,            call_ptrace,        "a tracer would see the VM")                    \
    X(prctl,             call_prctl,         "some would hit the VM")                        \
    X(arch_prctl,        call_arch_prctl,    "GS and shadow stacks are the VM's")     \
    X(setuid,            call_set_user,      "the live file may come out of reach")          \
    X(setfsuid,          call_set_user,      "the live file may come out of reach")          \
    X(setreuid,          call_set_users,     "the live file may come out of reach")          \
    X(setresuid,         call_set_users,     "the live file may come out of reach")          \
    X(chroot,            call_set_root,      "the live file may come out of reach")          \
    X(pivot_root,        call_set_root,      "the live file may come out of reach")          \
    X(unshare,           call_set_root,      "the live file may come out of reach")          \
    X(setns,             call_set_root,      "the live file may come out of reach")          \
    X(seccomp,           call_seccomp,       "the VM makes system calls of its own")
/* clang-format on */

typedef CallFate (*CallHandler)(Thread *thread, Call *call);

enum { N_CALLS = 512 };

#define AS_ROW(name, handler, why) [__NR_##name] = handler,
static const CallHandler handler_of[N_CALLS] = { VIRTUALIZED(AS_ROW) };

static CallFate run(Thread *thread, Call *call)
{
    uint64_t number = (uint64_t)call->number;
    if (number < N_CALLS && handler_of[number] != NULL)
        return handler_of[number](thread, call);
    if (self_memory_takes(call))
        return self_memory_call(thread, call);
    return syscall_pass(thread, call);
}

/*
 * What lies behind an argument in pages of written code is opened before, so that nothing is read
 * halfway; what only the kernel finds (vectors of buffers) is opened after.
 */
static void open_watched(const Call *call)
{
    CodeMap map;
    for (int i = 0; i < 6 && watch_any(); i++)
        if (map_find_code(call->arg[i], &map) && map.writable)
            watch_let_write(call->arg[i], map.end);
}

/*
 * Closed pages (guard.h, watch.h) are the VM's doing: the guest is not to see an error for them.
 */
static CallFate run_again(Thread *thread, Call *call)
{
    Call given = *call;
    guard_open_buffers(call);
    open_watched(call);
    CallFate fate = run(thread, call);
    for (unsigned n = 0; fate == CALL_DONE && call->result == -EFAULT; n++) {
        if (!guard_open_arguments(&given, n) && !watch_let_write_all())
            break;
        *call = given;
        fate = run(thread, call);
    }
    return fate;
}

void syscall_run(Thread *thread)
{
    enum { SYSCALL_BYTES = 2 };
    Cpu *cpu = &thread->cpu;
    uint64_t *reg = cpu->reg;
    Call call = { (int64_t)reg[R_RAX],
                  { reg[R_RDI], reg[R_RSI], reg[R_RDX], reg[R_R10], reg[R_R8], reg[R_R9] },
                  0 };
    if (cpu->pending != 0)
        return;
    switch (run_again(thread, &call)) {
    case CALL_DONE:
        reg[R_RAX] = (uint64_t)call.result;
        reg[R_RCX] = cpu->pc + SYSCALL_BYTES;
        reg[R_R11] = cpu->rflags;
        cpu->pc += SYSCALL_BYTES;
        break;
    case CALL_AGAIN:
        reg[R_RAX] = (uint64_t)call.number;
        break;
    case CALL_SET:
        break;
    }
}

/* The page is execute-only: its three entries stand 1024 bytes apart, and each is a call and a ret.
 */
void vsyscall_run(Thread *thread)
{
    enum {
        ENTRY_SHIFT = 10,
        ENTRY_MASK = 3,
        SIGNAL_SEGV = 11,
        UNMAPPED = 1,
        PAGE_FAULT = 14,
        BY_USER = 4
    };
    static const int64_t number[ENTRY_MASK + 1] = { __NR_gettimeofday, __NR_time, __NR_getcpu,
                                                    __NR_getcpu };
    Cpu *cpu = &thread->cpu;
    uint64_t return_to;
    uint64_t sp = cpu->reg[R_RSP];
    Call call = { number[cpu->pc >> ENTRY_SHIFT & ENTRY_MASK],
                  { cpu->reg[R_RDI], cpu->reg[R_RSI], cpu->reg[R_RDX] },
                  0 };
    if (!guest_read(&return_to, sp, sizeof return_to)) {
        signals_raise(thread, SIGNAL_SEGV, UNMAPPED, sp, PAGE_FAULT, BY_USER);
        return;
    }
    if (syscall_pass(thread, &call) == CALL_AGAIN)
        return;
    cpu->reg[R_RAX] = (uint64_t)call.result;
    cpu->reg[R_RSP] = sp + sizeof return_to;
    cpu->pc = return_to;
}

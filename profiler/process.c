/*
 * process.c: fork, execve, the end.
 *
 *   fork     every lock of the VM is held across it, so the child finds whole tables; before its
 *            first instruction the child has a live file of its own
 *   execve   what execve would run is found out first (exec_plan.c), then respin-vm is executed
 * with it: the guest's descriptors, directory, environment and signal mask go along as always. If
 * anything is in the way, the guest's own call is made, and its error is the right one the end  the
 * run's first process becomes `respin finish`, which compacts the profile and exits with the
 * guest's status; others just end
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/process.h"
#include "profiler/evict.h"
#include "profiler/exec_plan.h"
#include "profiler/guard.h"
#include "profiler/limit_calls.h"
#include "profiler/live.h"
#include "profiler/load.h"
#include "profiler/mapping_calls.h"
#include "profiler/maps.h"
#include "profiler/memory.h"
#include "profiler/model.h"
#include "profiler/options.h"
#include "profiler/sigmask.h"
#include "profiler/signals.h"
#include "profiler/text.h"
#include "profiler/threads.h"
#include "profiler/values.h"

#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/time.h>

enum { MOST_ARGUMENTS = 1 << 24, WORD_STEP = 512 };

static char exe_path[PLAN_PATH_MAX];

/* ---- /proc/self/exe ----------------------------------------------------------------------- */

void process_set_exe(const char *path)
{
    long fd = raw_syscall(__NR_openat, AT_FDCWD, (long)path, O_PATH | O_CLOEXEC, 0, 0, 0);
    Text link;
    text_start(&link);
    text_put(&link, "/proc/self/fd/");
    text_put_dec(&link, fd >= 0 ? (uint64_t)fd : 0);
    long len = -1;
    if (fd >= 0) {
        len = raw_syscall(__NR_readlink, (long)link.bytes, (long)exe_path, PLAN_PATH_MAX - 1, 0, 0,
                          0);
        raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
    }
    if (len > 0)
        exe_path[len] = '\0';
    else
        text_copy(exe_path, sizeof exe_path, path);
}

const char *process_exe(void)
{
    return exe_path;
}

static const char *after_own_number(const char *text)
{
    const char *at = text;
    uint64_t number = text_parse(&at, 10);
    bool own = at != text && (number == (uint64_t)raw_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0) ||
                              number == (uint64_t)raw_syscall(__NR_gettid, 0, 0, 0, 0, 0, 0));
    return own ? at : NULL;
}

bool process_owns_path(const char *text, const char *entry)
{
    const char *rest = text_after(text, "/proc/");
    if (rest == NULL)
        return false;
    const char *after = text_after(rest, "self");
    if (after == NULL)
        after = text_after(rest, "thread-self");
    if (after == NULL)
        after = after_own_number(rest);
    if (after == NULL)
        return false;
    const char *task = text_after(after, "/task/");
    if (task != NULL) { /* any of its threads */
        text_parse(&task, 10);
        after = task;
    }
    return text_equal(after, entry);
}

bool process_is_own(uint64_t path, const char *entry)
{
    enum { LONGEST = 80 };
    char text[LONGEST];
    return guest_readable(path, 1) && *(const char *)path == '/' &&
           guest_read_string(text, sizeof text, path) >= 0 && process_owns_path(text, entry);
}

/* ---- fork --------------------------------------------------------------------------------- */

void process_lock_all(Thread *thread)
{
    threads_lock();
    vm_lock(&thread->os->actions->lock);
    vm_lock(&thread->vm->code_lock);
    maps_lock();
    guard_lock_for_fork();
    signals_lock_for_fork();
    brk_lock_for_fork();
    memory_lock_for_fork();
}

void process_unlock_all(Thread *thread)
{
    memory_unlock_for_fork();
    brk_unlock_for_fork();
    signals_unlock_for_fork();
    guard_unlock_for_fork();
    maps_unlock();
    vm_unlock(&thread->vm->code_lock);
    vm_unlock(&thread->os->actions->lock);
    threads_unlock();
}

/* The guest's clone, on a copy of this stack: its own stack pointer is the VM's affair. */
static long clone_process(const Call *call)
{
    struct clone_args args[4];
    switch (call->number) {
    case __NR_clone:
        return raw_syscall(__NR_clone, (long)call->arg[0], 0, (long)call->arg[2],
                           (long)call->arg[3], (long)call->arg[4], 0);
    case __NR_clone3:
        memcpy(args, (const void *)call->arg[0], call->arg[1]);
        args->stack = args->stack_size = 0;
        return raw_syscall(__NR_clone3, (long)args, (long)call->arg[1], 0, 0, 0, 0);
    default:
        return raw_syscall(call->number, 0, 0, 0, 0, 0, 0);
    }
}

long process_fork(Thread *thread, const Call *call, uint64_t flags, uint64_t child_stack)
{
    signals_hold(thread);
    process_lock_all(thread);
    long result = clone_process(call);
    if (result == 0)
        threads_after_fork(thread);
    process_unlock_all(thread);
    if (result == 0) {
        vm_lock(&thread->vm->code_lock);
        live_fork_child(thread->vm, thread);
        guard_start();
        values_forked();
        if (vm_keeps_gs(thread->vm))
            evict_forked(&thread->cpu);
        vm_unlock(&thread->vm->code_lock);
        signals_forget(thread);
        model_forked(thread->vm->model);
        if ((flags & CLONE_CLEAR_SIGHAND) != 0)
            signals_clear_handlers(thread->os->actions);
        sigmask_install(thread);
        if (child_stack != 0)
            thread->cpu.reg[R_RSP] = child_stack;
    }
    signals_release(thread);
    return result;
}

/* ---- the end ------------------------------------------------------------------------------ */

/* Figures leave the process once: what follows (a failed execve) counts from nothing. */
static void write_model(const Vm *vm)
{
    if (vm->model == NULL)
        return;
    if (!model_write(vm->model, vm->options.model_out))
        vm_say("the figures of the front-end model cannot be written");
    model_forked(vm->model);
}

static void cancel_timers(void)
{
    enum { N_TIMERS = 3 };
    uint64_t none[4] = { 0 };
    for (long i = 0; i < N_TIMERS; i++)
        raw_syscall(__NR_setitimer, i, (long)none, 0, 0, 0, 0);
}

/*
 * Becomes `respin finish PROFILE STATUS`; returns if that cannot be executed. A child, with the
 * number of the run: sums up those that have ended. All signals are blocked, and stay so.
 */
static void exec_finish(const VmOptions *options, uint64_t status)
{
    Text number, run;
    text_start(&number);
    text_put_dec(&number, status & 0xff);
    text_start(&run);
    text_put_hex(&run, options->run);
    const char *argv[] = { options->respin,
                           "finish",
                           options->out,
                           number.bytes,
                           options->is_child ? run.bytes : NULL,
                           NULL };
    const char *envp[] = { NULL };
    cancel_timers();
    raw_syscall(__NR_execve, (long)options->respin, (long)argv, (long)envp, 0, 0, 0);
}

/* The run's first process, and one in so many of its children, so that their files stay few. */
static bool sums_up(const VmOptions *options)
{
    enum { ONE_IN = 64 };
    return options->out != NULL && options->respin != NULL &&
           (!options->is_child || raw_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0) % ONE_IN == 0);
}

void process_end(Thread *thread, uint64_t status)
{
    const VmOptions *options = &thread->vm->options;
    if (thread->os->borrowed)
        thread_exit_borrowed(thread, status);
    signals_hold(thread);
    live_mark(LIVE_ENDED, true);
    write_model(thread->vm);
    if (sums_up(options))
        exec_finish(options, status);
    for (;;)
        raw_syscall(__NR_exit_group, (long)status, 0, 0, 0, 0, 0);
}

/* ---- execve ------------------------------------------------------------------------------- */

/* The memory of one execve: the plan, the options' text, the new argument vector. */
typedef struct ExecMemory {
    ExecPlan plan;
    char given[PLAN_PATH_MAX];
    OptionText options;
    const char *argv[];
} ExecMemory;

/* Counts a guest vector's pointers; -EFAULT, or -E2BIG. */
static long count_vector(uint64_t vector)
{
    if (vector == 0)
        return 0;
    for (long n = 0; n < MOST_ARGUMENTS; n++) {
        uint64_t at = vector + (uint64_t)n * sizeof(uint64_t);
        if ((n == 0 || at % VM_PAGE < sizeof(uint64_t)) && !guest_readable(at, sizeof(uint64_t)))
            return -EFAULT;
        if (*(const uint64_t *)at == 0)
            return n;
    }
    return -E2BIG;
}

static void fill_argv(const Thread *thread, ExecMemory *memory, const uint64_t *guest_argv,
                      long n_guest)
{
    VmOptions options = thread->vm->options;
    options.is_child |= thread->os->borrowed; /* a vfork child has its parent's options */
    size_t n = options_to_argv(&options, memory->plan.name, &memory->options, memory->argv);
    memory->argv[n++] = memory->plan.program;
    for (size_t i = 0; i < memory->plan.n_prefix; i++)
        memory->argv[n++] = memory->plan.prefix[i];
    if (memory->plan.n_prefix == 0 && n_guest == 0)
        memory->argv[n++] = "";
    for (long i = memory->plan.n_prefix != 0 ? 1 : 0; i < n_guest; i++)
        memory->argv[n++] = (const char *)guest_argv[i];
    memory->argv[n] = NULL;
}

static void say_native(const ExecPlan *plan)
{
    Text text;
    text_start(&text);
    text_put(&text, plan->program);
    text_put(&text, " runs natively, without a profile: ");
    text_put(&text, plan->why_native);
    vm_say(text.bytes);
}

static CallFate make_exec(Thread *thread, Call *call)
{
    bool borrowed = thread->os->borrowed;
    if (!borrowed) {
        live_mark(LIVE_ENDED, true);
        write_model(thread->vm);
    }
    sigmask_close(thread);
    CallFate fate = syscall_pass(thread, call);
    sigmask_open(thread);
    if (!borrowed)
        live_mark(LIVE_ENDED, false);
    return fate;
}

/* The guest's own call: it fails as it must, or the program runs without the VM. */
static CallFate exec_native(Thread *thread, Call *call)
{
    limits_give_back(thread);
    CallFate fate = make_exec(thread, call);
    limits_take_again(thread);
    return fate;
}

static CallFate exec_in_vm(Thread *thread, Call *call, const ExecMemory *memory, uint64_t envp)
{
    Call exec = { .number = __NR_execve,
                  .arg = { (uint64_t)thread->vm->options.vm, (uint64_t)memory->argv, envp } };
    int64_t number = call->number;
    CallFate fate = make_exec(thread, &exec);
    if (fate == CALL_DONE && (exec.result == -ENOENT || exec.result == -EACCES)) {
        vm_say(
            "respin-vm cannot be executed from here: the program runs natively, without a profile");
        return exec_native(thread, call);
    }
    call->number = number;
    call->result = exec.result;
    return fate;
}

/* `path` is a host string: what the kernel would open. */
static CallFate exec_path(Thread *thread, Call *call, ExecMemory *memory, const char *path,
                          uint64_t argv, uint64_t envp)
{
    exec_plan_make(&memory->plan, path);
    if (memory->plan.busy) {
        call->result = -ETXTBSY;
        return CALL_DONE;
    }
    if (memory->plan.native) {
        if (memory->plan.why_native != NULL)
            say_native(&memory->plan);
        return exec_native(thread, call);
    }
    fill_argv(thread, memory, (const uint64_t *)argv, count_vector(argv));
    return exec_in_vm(thread, call, memory, envp);
}

/* Where execveat's descriptor and path lead; false: only the kernel can tell. */
static bool path_of_descriptor(char *out, long fd, const char *path)
{
    Text text;
    text_start(&text);
    text_put(&text, "/proc/self/fd/");
    text_put_dec(&text, (uint64_t)fd);
    long len = raw_syscall(__NR_readlink, (long)text.bytes, (long)out, PLAN_PATH_MAX - 1, 0, 0, 0);
    if (len <= 0 || out[0] != '/')
        return false;
    out[len] = '\0';
    if (*path == '\0')
        return true;
    text_start(&text);
    text_put(&text, out);
    text_put(&text, "/");
    text_put(&text, path);
    return text_copy(out, PLAN_PATH_MAX, text.bytes);
}

static CallFate exec_from(Thread *thread, Call *call, long directory, const uint64_t arg[3],
                          uint64_t flags)
{
    long n = count_vector(arg[1]);
    size_t size = sizeof(ExecMemory) +
                  ((size_t)(n > 0 ? n : 0) + OPTIONS_MOST + PLAN_PREFIX_MAX + 4) * sizeof(char *);
    ExecMemory *memory = n < 0 || thread->vm->options.no_follow ? NULL : memory_scratch(size);
    if (memory == NULL)
        return exec_native(thread, call);
    thread->os->scratch = memory; /* a vfork child's stays mapped in its parent */
    thread->os->scratch_size = size;
    bool own = process_is_own(arg[0], "/exe");
    bool known = own || guest_read_string(memory->given, PLAN_PATH_MAX, arg[0]) >= 0;
    char *path = memory->given;
    if (own)
        text_copy(path, PLAN_PATH_MAX, exe_path);
    bool relative = known && path[0] != '/' && directory != AT_FDCWD;
    if (relative || (known && path[0] == '\0')) {
        Text name;
        text_start(&name);
        text_put(&name, path);
        known = directory >= 0 && path_of_descriptor(path, directory, name.bytes);
    }
    if ((flags & ~(uint64_t)AT_EMPTY_PATH) != 0)
        known = false;
    CallFate fate =
        known ? exec_path(thread, call, memory, path, arg[1], arg[2]) : exec_native(thread, call);
    thread->os->scratch = NULL;
    memory_scratch_free(memory, size);
    return fate;
}

CallFate process_execve(Thread *thread, Call *call)
{
    return exec_from(thread, call, AT_FDCWD, call->arg, 0);
}

CallFate process_execveat(Thread *thread, Call *call)
{
    return exec_from(thread, call, (int32_t)call->arg[0], &call->arg[1], call->arg[4]);
}

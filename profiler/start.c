/*
 * start.c: from the kernel's entry to the guest's first instruction.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/burst.h"
#include "profiler/exec_plan.h"
#include "profiler/frame.h"
#include "profiler/guard.h"
#include "profiler/guest_stack.h"
#include "profiler/live.h"
#include "profiler/load.h"
#include "profiler/mapping_calls.h"
#include "profiler/memory.h"
#include "profiler/options.h"
#include "profiler/proc_view.h"
#include "profiler/process.h"
#include "profiler/sigmask.h"
#include "profiler/signals.h"
#include "profiler/text.h"
#include "profiler/threads.h"

#include <asm/unistd.h>
#include <elf.h>
#include <linux/personality.h>
#include <linux/prctl.h>

Vm the_vm;

void vm_main(uint64_t *sp) __attribute__((noreturn, visibility("hidden")));

extern const char image_start[] __asm__("__ehdr_start") __attribute__((visibility("hidden")));
extern const Elf64_Dyn dynamic[] __asm__("_DYNAMIC") __attribute__((visibility("hidden")));

enum {
    ASK_PERSONALITY = -1,
    BRK_RANDOM_PAGES = 0x2000, /* 32 MiB, as arch_randomize_brk */
    FLAGS_AT_START = 0x202,
    NAME_BYTES = 16,
};

/* A static-pie has only relative relocations; until they are done, no table of pointers is right.
 */
static void relocate_self(void)
{
    uint64_t base = (uint64_t)image_start;
    const Elf64_Rela *rela = NULL;
    uint64_t size = 0;
    for (const Elf64_Dyn *entry = dynamic; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_RELA)
            rela = (const Elf64_Rela *)(base + entry->d_un.d_ptr);
        if (entry->d_tag == DT_RELASZ)
            size = entry->d_un.d_val;
    }
    for (uint64_t i = 0; rela != NULL && i < size / sizeof *rela; i++)
        if (ELF64_R_TYPE(rela[i].r_info) == R_X86_64_RELATIVE)
            *(uint64_t *)(base + rela[i].r_offset) = base + (uint64_t)rela[i].r_addend;
}

static bool randomizes(void)
{
    long personality = raw_syscall(__NR_personality, ASK_PERSONALITY & 0xffffffff, 0, 0, 0, 0, 0);
    return personality < 0 || (personality & ADDR_NO_RANDOMIZE) == 0;
}

static uint64_t brk_start(uint64_t image_end, bool randomize)
{
    uint64_t pages = 0;
    if (randomize)
        raw_syscall(__NR_getrandom, (long)&pages, sizeof pages, 0, 0, 0, 0);
    return image_end + pages % BRK_RANDOM_PAGES * VM_PAGE;
}

static void set_process_name(const char *name)
{
    char comm[NAME_BYTES];
    text_copy(comm, sizeof comm, text_base_name(name));
    raw_syscall(__NR_prctl, PR_SET_NAME, (long)comm, 0, 0, 0, 0);
}

static Thread *first_thread(Vm *vm)
{
    Thread *thread = thread_new(vm);
    thread->os->actions = signals_initial_table();
    signals_use_alt_stack(thread);
    sigmask_open(thread);
    return thread;
}

__attribute__((noreturn)) static void refuse(const ExecPlan *plan)
{
    enum { EXIT_REFUSED = 4 };
    Text text;
    text_start(&text);
    text_put(&text, plan->program);
    text_put(&text, ": ");
    text_put(&text, plan->why_native != NULL ? plan->why_native
                                             : "not a program that can be opened and executed");
    vm_say(text.bytes);
    for (;;)
        raw_syscall(__NR_exit_group, EXIT_REFUSED, 0, 0, 0, 0, 0);
}

/* Executed programs were looked into by execve (process.c); the first one is looked into here. */
static void resolve_first(const Vm *vm, const Start *start, uint64_t *sp)
{
    static ExecPlan plan;
    static OptionText text;
    exec_plan_make(&plan, start->program);
    if (plan.native)
        refuse(&plan);
    if (plan.n_prefix == 0)
        return;
    const char **guest = (const char **)(sp + 1 + start->first);
    size_t room = (sp[0] + OPTIONS_MOST + PLAN_PREFIX_MAX + 2) * sizeof(char *);
    const char **argv = memory_scratch(room);
    if (argv == NULL)
        vm_die("no memory for arguments, bytes wanted", room);
    size_t n = options_to_argv(&vm->options, plan.name, &text, argv);
    argv[n++] = plan.program;
    for (size_t i = 0; i < plan.n_prefix; i++)
        argv[n++] = plan.prefix[i];
    while (*guest != NULL && *++guest != NULL)
        argv[n++] = *guest;
    argv[n] = NULL;
    char **envp = (char **)(sp + 1 + sp[0] + 1);
    raw_syscall(__NR_execve, (long)vm->options.vm, (long)argv, (long)envp, 0, 0, 0);
    vm_die("respin-vm cannot execute itself", 0);
}

/* The guest's words, for people; cut where the live header ends. */
static void join_words(Text *out, const uint64_t *sp, const Start *start)
{
    text_start(out);
    for (uint64_t i = start->first; i < sp[0]; i++) {
        if (i > start->first)
            text_put(out, " ");
        text_put(out, (const char *)sp[1 + i]);
    }
}

void vm_main(uint64_t *sp)
{
    relocate_self();
    Vm *vm = &the_vm;
    Start start = { 0 };
    const char *problem = NULL;
    if (!options_read(&vm->options, &start, (char *const *)(sp + 1), &problem))
        vm_die(problem, 0);
    Text command;
    join_words(&command, sp, &start);
    if (vm->options.burst != NULL)
        burst_start(vm, command.bytes);
    if (start.is_first)
        resolve_first(vm, &start, sp);
    if (!memory_init())
        vm_die("no address space for the VM", 0);
    frame_init();
    Loaded loaded;
    bool randomize = randomizes();
    load_program(start.program, randomize, &loaded);
    vm->exe_start = loaded.image_start;
    vm->exe_end = loaded.image_end;
    process_set_exe(start.program);
    set_process_name(start.name);
    live_start(vm, command.bytes);
    guard_start();
    Thread *thread = first_thread(vm);
    if (!interp_init(vm))
        vm_die(vm->unsupported, 0);
    uint64_t guest_sp = guest_stack_build(sp, &start, &loaded);
    uint64_t heap = brk_start(loaded.image_end, randomize);
    brk_init(heap, proc_view_set((const uint64_t *)guest_sp, &loaded, heap));
    thread->cpu.reg[R_RSP] = guest_sp;
    thread->cpu.rflags = FLAGS_AT_START;
    thread->cpu.pc = loaded.start_pc;
    thread_start(thread);
}

/*
 * burst.c: a look at a program that runs natively.
 *
 *   kernel's frame on the guest's stack  ─►  Cpu  ─►  interp_run  ─►  Cpu  ─►  the same frame
 *   (registers, vectors)                     vectors: xrstor        xsave
 *
 * The state map is the identity, so going in and out is copying registers. All of it happens on a
 * stack of the core's own: the guest's gets the kernel's frame and burst_take's. A slot (thread.h)
 * is lent to one burst at a time, not to one thread: there are about as many as processors.
 *
 * A burst ends at a block edge when its edges are used up, before a system call, a trap instruction
 * or what the interpreter does not know, and after a fault (burst_faults.c). It has no effect but
 * the guest's own: it makes system calls only to learn of new code and to extend the profile.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/burst.h"
#include "profiler/burst_share.h"
#include "profiler/frame.h"
#include "profiler/live.h"
#include "profiler/lookup.h"
#include "profiler/maps.h"
#include "profiler/memory.h"
#include "profiler/signals.h"
#include "profiler/text.h"
#include "profiler/threads.h"

#include <asm/unistd.h>

enum {
    SLOTS_MAX = 64,
    MASK_BYTES = 8,
    CS_USER = 0x33,
    FLAG_TF = 1 << 8,
    FLAG_AC = 1 << 18,
    FLAGS_OF_CPU = 0x200cd5, /* CF PF AF ZF SF DF OF ID */
    SET_MASK = 2,
    INFO_CODE = 2, /* siginfo as words of 4 bytes */
    CODE_TIMER = -2,
    ROUNDS = 64, /* of finding code mapped anew, in one burst */
    ROOM_HEAP = 4 << 20,
    ROOM_CODE = 1 << 20,
    XSAVE_SW = 464,
    XSAVE_ALIGN = 64,
    TILE_DATA = 1 << 18,
};
#define XSAVE_MAGIC 0x46505853u
#define SA_SIGINFO_ UINT64_C(0x00000004)
#define SA_RESTORER_ UINT64_C(0x04000000)
#define SA_ONSTACK_ UINT64_C(0x08000000)
#define SA_RESTART_ UINT64_C(0x10000000)
#define FAULTS                                                                                     \
    (SIG_BIT(SIGNAL_SEGV) | SIG_BIT(SIGNAL_BUS) | SIG_BIT(SIGNAL_FPE) | SIG_BIT(SIGNAL_ILL))

_Static_assert(BURST_STACK_TOP + BURST_FRAME_BYTES == SLOT_SIZE, "the copy ends the slot");

extern const char vm_restorer[] __attribute__((visibility("hidden")));

static struct {
    BurstPort *port;
    uint32_t n_slots;
    Thread *slot[SLOTS_MAX];
} burst;

/* Where burst_signal counts who is inside; start.S and burst_entry.S know no struct. */
volatile uint32_t *burst_inside __attribute__((visibility("hidden")));

/* ---- before ------------------------------------------------------------------------------- */

void burst_fail(const char *problem)
{
    BurstPort *port = the_vm.options.burst;
    text_copy(port->problem, sizeof port->problem, problem);
    memory_range(&port->region_start, &port->region_end);
    port->state = BURST_FAILED;
    burst_trap();
}

static void make_slots(Vm *vm, uint32_t n)
{
    burst.n_slots = n < SLOTS_MAX ? n : SLOTS_MAX;
    for (uint32_t i = 0; i < burst.n_slots; i++)
        burst.slot[i] = thread_new(vm);
    for (uint32_t i = 0; i < burst.n_slots; i++)
        burst.slot[i]->os->in_use = 0;
}

static void publish(BurstPort *port)
{
    memory_range(&port->region_start, &port->region_end);
    memory_keep_from_children((void *)port->region_start, port->region_end - port->region_start);
    memory_keep_from_children((void *)port->image_start, port->image_end - port->image_start);
    port->handler = (uint64_t)burst_signal;
    text_copy(port->live_path, sizeof port->live_path, live_path());
    port->state = BURST_READY;
}

void burst_start(Vm *vm, const char *command)
{
    BurstPort *port = vm->options.burst;
    burst.port = port;
    burst_inside = &port->n_inside;
    if (!memory_init())
        burst_fail("there is no address space for the VM (RLIMIT_AS)");
    live_start(vm, command);
    if (live_path() == NULL)
        burst_fail("the process that is to be profiled cannot write the profile: its user needs to "
                   "be able to make files in that folder");
    if (!live_has_room())
        burst_fail("there is too little address space for the VM (RLIMIT_AS)");
    live_sample(port->burst_ns);
    make_slots(vm, port->n_slots);
    if (!interp_init(vm))
        burst_fail(vm->unsupported);
    GuestAction handler = { .handler = (uint64_t)burst_signal,
                            .flags = SA_SIGINFO_ | SA_ONSTACK_ | SA_RESTART_ | SA_RESTORER_,
                            .restorer = (uint64_t)vm_restorer,
                            .mask = ~FAULTS };
    publish(port);
    raw_syscall(__NR_rt_sigaction, port->signal, (long)&handler, 0, MASK_BYTES, 0, 0);
    burst_trap();
}

/* ---- in ----------------------------------------------------------------------------------- */

static uint32_t frame_image_size(const GuestContext *context)
{
    return *(const uint32_t *)(context->registers.fpstate + XSAVE_SW + 4);
}

/* What the kernel's frame says of its XSAVE image; 0: it has none that could be put back whole. */
static uint64_t frame_features(const GuestContext *context)
{
    const uint8_t *image = (const uint8_t *)context->registers.fpstate;
    if (image == NULL || *(const uint32_t *)(const void *)(image + XSAVE_SW) != XSAVE_MAGIC)
        return 0;
    uint64_t features = *(const uint64_t *)(const void *)(image + XSAVE_SW + 8);
    uint32_t size = frame_image_size(context);
    bool fits = size <= BURST_FRAME_BYTES - sizeof(GuestContext) - XSAVE_ALIGN;
    return (features & TILE_DATA) != 0 || !fits ? 0 : features;
}

/* A shadow stack would hold return addresses of which the interpreter's calls know nothing. */
static bool has_shadow_stack(void)
{
    uint64_t pointer = 0;
    __asm__ volatile("rdsspq %0" : "+r"(pointer)); /* no operation where there is none */
    return pointer != 0;
}

static bool can_look(const int32_t *info, const GuestContext *context)
{
    const SigContext *registers = &context->registers;
    bool by_clock = info[INFO_CODE] > 0 || info[INFO_CODE] == CODE_TIMER;
    return by_clock && burst.port->off == 0 && registers->cs == CS_USER &&
           (registers->flags & (FLAG_TF | FLAG_AC)) == 0 && frame_features(context) != 0 &&
           !has_shadow_stack() && live_has_room() && memory_make_room(ROOM_HEAP, ROOM_CODE);
}

Thread *burst_take(const int32_t *info, GuestContext *context)
{
    const BurstPort *port = burst.port;
    if (!can_look(info, context) ||
        !burst_share_allows(port->burst_ns, port->share, live_note_moment(), live_burst_spent()))
        return NULL;
    for (uint32_t i = 0; i < burst.n_slots; i++) {
        ThreadOs *os = burst.slot[i]->os;
        uint32_t free = 0;
        if (__atomic_compare_exchange_n(&os->in_use, &free, 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
            os->interrupted = context;
            return os->thread;
        }
    }
    return NULL;
}

Thread *burst_thread_at(uint64_t address)
{
    for (uint32_t i = 0; i < burst.n_slots; i++)
        if (slot_thread((const void *)address) == burst.slot[i])
            return burst.slot[i];
    return NULL;
}

void burst_stop_all(void)
{
    for (uint32_t i = 0; i < burst.n_slots; i++)
        burst.slot[i]->cpu.pending = 1;
}

static void load_cpu(Cpu *cpu, const SigContext *from)
{
    const uint64_t reg[N_GUEST_REGS] = {
        [R_RAX] = from->rax, [R_RCX] = from->rcx, [R_RDX] = from->rdx, [R_RBX] = from->rbx,
        [R_RSP] = from->rsp, [R_RBP] = from->rbp, [R_RSI] = from->rsi, [R_RDI] = from->rdi,
        [R_R8] = from->r8,   [R_R9] = from->r9,   [R_R10] = from->r10, [R_R11] = from->r11,
        [R_R12] = from->r12, [R_R13] = from->r13, [R_R14] = from->r14, [R_R15] = from->r15,
    };
    memcpy(cpu->reg, reg, sizeof reg);
    cpu->pc = from->rip;
    cpu->rflags = from->flags;
    cpu->pending = 0;
    cpu->came_back = 0;
    cpu->missed = NULL;
    cpu->burst.changed = 0;
}

static void store_cpu(const Cpu *cpu, SigContext *to)
{
    const uint64_t *reg = cpu->reg;
    to->rax = reg[R_RAX], to->rcx = reg[R_RCX], to->rdx = reg[R_RDX], to->rbx = reg[R_RBX];
    to->rsp = reg[R_RSP], to->rbp = reg[R_RBP], to->rsi = reg[R_RSI], to->rdi = reg[R_RDI];
    to->r8 = reg[R_R8], to->r9 = reg[R_R9], to->r10 = reg[R_R10], to->r11 = reg[R_R11];
    to->r12 = reg[R_R12], to->r13 = reg[R_R13], to->r14 = reg[R_R14], to->r15 = reg[R_R15];
    to->rip = cpu->pc;
    to->flags = (to->flags & ~(uint64_t)FLAGS_OF_CPU) | (cpu->rflags & FLAGS_OF_CPU);
}

/* The bytes at cpu.pc are others than those decoded: a JIT's, or a file was mapped anew. */
static void learn_change(Cpu *cpu)
{
    CodeMap map;
    cpu->burst.changed = 0;
    if (!map_find_code(cpu->pc, &map))
        return;
    maps_lock();
    maps_refresh(map.start, map.end);
    maps_unlock();
    bool generated = map.checked || map.writable;
    interp_invalidate(generated ? cpu->pc : map.start, generated ? cpu->pc + 1 : map.end);
}

/* Whether the burst goes on. Code that is not known yet is asked for. */
static bool goes_on(Cpu *cpu, RunExit why)
{
    bool mapped;
    if (cpu->pending != 0)
        return false;
    if (why == RUN_PENDING && cpu->burst.changed != 0) {
        learn_change(cpu);
        return true;
    }
    return why == RUN_FETCH && maps_ask_kernel(cpu->pc, &mapped);
}

static bool returns(uint64_t number)
{
    return number != __NR_exit && number != __NR_exit_group && number != __NR_execve &&
           number != __NR_execveat && number != __NR_rt_sigreturn;
}

/* The system call is the guest's own, made after the burst: that it comes back is not seen. */
static void count_syscall(Cpu *cpu)
{
    if (cpu->came_back != 0 && returns(cpu->reg[R_RAX]))
        cpu->counter[cpu->came_back]++;
    cpu->came_back = 0;
}

static void look(Thread *thread)
{
    Cpu *cpu = &thread->cpu;
    RunExit why = RUN_FETCH;
    for (int i = 0; i < ROUNDS; i++) {
        why = interp_run(thread);
        if (!goes_on(cpu, why))
            break;
    }
    if (why == RUN_SYSCALL)
        count_syscall(cpu);
}

/* Out of the guest's way. */
static GuestContext *copy_frame(Thread *thread, const GuestContext *from)
{
    GuestContext *copy = (GuestContext *)((uint64_t)thread + BURST_STACK_TOP);
    uint64_t image = ((uint64_t)(copy + 1) + XSAVE_ALIGN - 1) & ~(uint64_t)(XSAVE_ALIGN - 1);
    *copy = *from;
    memcpy((void *)image, (const void *)from->registers.fpstate, frame_image_size(from));
    copy->registers.fpstate = image;
    return copy;
}

static void restore_vectors(const GuestContext *context)
{
    uint64_t features = frame_features(context);
    __asm__ volatile("xrstor64 (%0)"
                     :
                     : "r"(context->registers.fpstate), "a"((uint32_t)features),
                       "d"((uint32_t)(features >> 32))
                     : "memory");
}

static void save_vectors(const GuestContext *context)
{
    uint64_t features = frame_features(context);
    __asm__ volatile("xsave64 (%0)"
                     :
                     : "r"(context->registers.fpstate), "a"((uint32_t)features),
                       "d"((uint32_t)(features >> 32))
                     : "memory");
}

static uint64_t cpu_ns(void)
{
    enum { CLOCK_THREAD = 3, NS_PER_S = 1000000000 };
    uint64_t now[2] = { 0, 0 };
    raw_syscall(__NR_clock_gettime, CLOCK_THREAD, (long)now, 0, 0, 0, 0);
    return now[0] * NS_PER_S + now[1];
}

__attribute__((noreturn)) static void go_back(Thread *thread)
{
    ThreadOs *os = thread->os;
    SigMask all = ~(SigMask)0;
    SigMask signal = SIG_BIT(burst.port->signal);
    uint64_t now[2] = { 0, 0 };
    raw_syscall(__NR_rt_sigprocmask, SET_MASK, (long)&all, 0, MASK_BYTES, 0, 0);
    /* What the clock sent while the burst went on asks for nothing. */
    while (raw_syscall(__NR_rt_sigtimedwait, (long)&signal, 0, (long)now, MASK_BYTES, 0, 0) > 0)
        continue;
    burst_faults_resend(thread);
    burst_return(os->interrupted, &os->in_use, burst_inside);
}

void burst_run(Thread *thread)
{
    ThreadOs *os = thread->os;
    Cpu *cpu = &thread->cpu;
    os->burst_began = cpu_ns();
    os->interrupted = copy_frame(thread, os->interrupted);
    vm_lock(&the_vm.code_lock);
    live_attach_thread(thread); /* there may be more counters by now */
    vm_unlock(&the_vm.code_lock);
    cpu->burst.critical = burst_critical_word();
    if (cpu->burst.critical == NULL || !burst_faults_enter()) {
        __atomic_add_fetch(&burst.port->n_blind, 1, __ATOMIC_RELAXED);
        go_back(thread);
    }
    signals_use_alt_stack(thread);
    load_cpu(cpu, &os->interrupted->registers);
    cpu->burst.edges_left = burst.port->edges;
    restore_vectors(os->interrupted);
    look(thread);
    burst_finish(thread);
}

void burst_finish(Thread *thread)
{
    ThreadOs *os = thread->os;
    volatile uint64_t *critical = (volatile uint64_t *)(uintptr_t)thread->cpu.burst.critical;
    save_vectors(os->interrupted);
    if (*critical != 0)
        burst_critical_abort(thread, critical);
    store_cpu(&thread->cpu, &os->interrupted->registers);
    burst_faults_leave();
    live_note_burst(cpu_ns() - os->burst_began);
    go_back(thread);
}

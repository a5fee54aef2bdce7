/*
 * machine.c: the CPU and the interpreter side by side.
 *
 *     page 0     entry code, then the snippet at a fixed offset, then the way out
 *     page 1     state to load and to store, RIP-relative to the code
 *     page 2     data; its upper half is the guest's stack
 *     page 3     no access
 *
 * For the interpreter the way out is a `syscall`, for the CPU it is code that stores the state. A
 * fault ends either run; the interpreter's is made exact by interp_recover, as in the VM.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/machine.h"

#include "profiler/translate.h"
#include "support/vm_double.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE = 4096, CALLER = 512, LEAVE = 768, SNIPPET = 1024 };

typedef struct Exchange {
    uint64_t reg[N_GUEST_REGS];
    uint64_t rflags, host_sp;
    uint8_t vector[MACHINE_VECTORS][16];
} Exchange;

static uint8_t *code;
static Exchange *exchange;
static uint8_t *data;
static size_t snippet_size;
static Thread thread;
static MachineState *current;
static bool in_interp;

/* ---- running ---- */

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)info;
    ucontext_t *uc = context;
    int64_t *gregs = (int64_t *)uc->uc_mcontext.gregs;
    static const int number[N_GUEST_REGS] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                              REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                              REG_R12, REG_R13, REG_R14, REG_R15 };
    if (current == NULL || (in_interp && !interp_recover(&thread, gregs, signal))) {
        static const char text[] = "a fault that is no guest's\n";
        (void)!write(2, text, sizeof text - 1);
        _exit(99);
    }
    current->signal = signal;
    if (!in_interp) {
        for (int i = 0; i < N_GUEST_REGS; i++)
            current->reg[i] = (uint64_t)gregs[number[i]];
        current->rflags = (uint64_t)gregs[REG_EFL];
        current->pc = (uint64_t)gregs[REG_RIP];
    }
    gregs[REG_RIP] = (int64_t)(uintptr_t)code + LEAVE;
}

static void catch_faults(void)
{
    static uint8_t stack[64 * 1024];
    stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    sigaltstack(&alternate, NULL);
    const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, NULL);
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t n)
{
    memcpy(at, bytes, n);
    return at + n;
}

/* An instruction of `n` bytes whose last four are the distance to a field of the exchange. */
static uint8_t *put_field(uint8_t *at, const void *bytes, size_t n, const void *field)
{
    at = put(at, bytes, n);
    int32_t distance = (int32_t)((const uint8_t *)field - (at + 4));
    return put(at, &distance, 4);
}

static uint8_t *put_reg(uint8_t *at, unsigned opcode, unsigned reg)
{
    const uint8_t mov[3] = { (uint8_t)(0x48 | (reg >= 8 ? 4 : 0)), (uint8_t)opcode,
                             (uint8_t)(0x05 | (reg & 7) << 3) };
    return put_field(at, mov, 3, &exchange->reg[reg]);
}

static uint8_t *put_vector(uint8_t *at, unsigned opcode, unsigned reg)
{
    const uint8_t movups[3] = { 0x0f, (uint8_t)opcode, (uint8_t)(0x05 | reg << 3) };
    return put_field(at, movups, 3, exchange->vector[reg]);
}

static uint8_t *put_save(uint8_t *at)
{
    static const uint8_t save[] = { 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57 };
    static const uint8_t store_sp[] = { 0x48, 0x89, 0x25 };
    at = put(at, save, sizeof save);
    return put_field(at, store_sp, sizeof store_sp, &exchange->host_sp);
}

/* Saves the host's registers and loads the state; ends where the snippet begins. */
static void put_entry(void)
{
    static const uint8_t push[] = { 0xff, 0x35 }, popf = 0x9d, jump = 0xe9;
    uint8_t *at = put_save(code);
    for (unsigned i = 0; i < MACHINE_VECTORS; i++)
        at = put_vector(at, 0x10, i);
    at = put_field(at, push, sizeof push, &exchange->rflags);
    at = put(at, &popf, 1);
    for (unsigned i = 0; i < N_GUEST_REGS; i++)
        at = put_reg(at, 0x8b, i);
    put_field(at, &jump, 1, code + SNIPPET);
}

/* Calls rsi(rdi) with the vectors loaded and stored around it, so that a fault can abandon it. */
static void put_caller(void)
{
    static const uint8_t call[] = { 0x48, 0x83, 0xec, 0x08, 0xff, 0xd6 }, jump = 0xe9;
    uint8_t *at = put_save(code + CALLER);
    for (unsigned i = 0; i < MACHINE_VECTORS; i++)
        at = put_vector(at, 0x10, i);
    at = put(at, call, sizeof call);
    put_field(at, &jump, 1, code + LEAVE);
}

/* Back to the C code that called code or code + CALLER. */
static void put_leave(void)
{
    static const uint8_t load_sp[] = { 0x48, 0x8b, 0x25 };
    static const uint8_t restore[] = { 0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41,
                                       0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3 };
    uint8_t *at = code + LEAVE;
    for (unsigned i = 0; i < MACHINE_VECTORS; i++)
        at = put_vector(at, 0x11, i);
    at = put_field(at, load_sp, sizeof load_sp, &exchange->host_sp);
    put(at, restore, sizeof restore);
}

/* Stores the state and returns to machine_run_native. */
static void put_way_out(void)
{
    static const uint8_t load_sp[] = { 0x48, 0x8b, 0x25 }, pop[] = { 0x8f, 0x05 };
    static const uint8_t pushf = 0x9c, jump = 0xe9;
    uint8_t *at = code + SNIPPET + snippet_size;
    for (unsigned i = 0; i < N_GUEST_REGS; i++)
        at = put_reg(at, 0x89, i);
    at = put_field(at, load_sp, sizeof load_sp, &exchange->host_sp);
    at = put(at, &pushf, 1);
    at = put_field(at, pop, sizeof pop, &exchange->rflags);
    put_field(at, &jump, 1, code + LEAVE);
}

static Engine engine_wanted(void)
{
    static const char *const names[] = { "switch", "indirect", "threaded", "translate" };
    const char *name = getenv("VM_ENGINE");
    for (unsigned i = 0; name != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0)
            return (Engine)i;
    }
    return ENGINE_THREADED;
}

void machine_init(void)
{
    code = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0);
    if (code == MAP_FAILED)
        abort();
    vm_double_code((uint64_t)(uintptr_t)code, (uint64_t)(uintptr_t)code + PAGE);
    mprotect(code + 3 * (size_t)PAGE, PAGE, PROT_NONE);
    exchange = (Exchange *)(void *)(code + PAGE);
    data = code + 2 * (size_t)PAGE;
    put_entry();
    put_caller();
    put_leave();
    the_vm.options.zydis = ZYDIS_FILE;
    the_vm.options.engine = engine_wanted();
    if (!interp_init(&the_vm))
        vm_die(the_vm.unsupported, 0);
    thread.cpu.counter = vm_double_counters();
    if (vm_keeps_gs(&the_vm))
        translate_init_thread(&thread);
}

uint64_t machine_code(void)
{
    return (uint64_t)(uintptr_t)code + SNIPPET;
}

uint64_t machine_data(void)
{
    return (uint64_t)(uintptr_t)data;
}

uint64_t machine_hole(void)
{
    return (uint64_t)(uintptr_t)code + 3 * PAGE;
}

Thread *machine_thread(void)
{
    return &thread;
}

uint64_t machine_fs(void)
{
    uint64_t base;
    __asm__("movq %%fs:0, %0"
            : "=r"(base)); /* psABI 3.4.6: the thread pointer is stored at itself */
    return base;
}

void machine_load(const uint8_t *bytes, size_t size)
{
    interp_invalidate(machine_code(), machine_code() + MACHINE_CODE);
    memcpy(code + SNIPPET, bytes, size);
    catch_faults(); /* here: the test framework sets its own handlers before each test */
    snippet_size = size;
}

void machine_poke(const uint8_t *bytes, size_t size)
{
    memcpy(code + SNIPPET, bytes, size);
}

void machine_run_native(MachineState *state)
{
    put_way_out();
    memcpy(exchange->reg, state->reg, sizeof state->reg);
    memcpy(exchange->vector, state->vector, sizeof state->vector);
    exchange->rflags = state->rflags;
    memcpy(data, state->data, MACHINE_DATA);
    state->signal = 0;
    current = state;
    in_interp = false;
    __asm__ volatile("fninit");
    ((void (*)(void))(uintptr_t)code)();
    current = NULL;
    memcpy(state->vector, exchange->vector, sizeof state->vector);
    memcpy(state->data, data, MACHINE_DATA);
    if (state->signal != 0)
        return;
    memcpy(state->reg, exchange->reg, sizeof state->reg);
    state->rflags = exchange->rflags;
    state->pc = machine_code() + snippet_size;
}

void machine_run_interp(MachineState *state)
{
    static const uint8_t syscall[] = { 0x0f, 0x05 };
    memcpy(code + SNIPPET + snippet_size, syscall, sizeof syscall);
    memcpy(thread.cpu.reg, state->reg, sizeof state->reg);
    memcpy(exchange->vector, state->vector, sizeof state->vector);
    thread.cpu.rflags = state->rflags;
    thread.cpu.pc = machine_code();
    memcpy(data, state->data, MACHINE_DATA);
    state->signal = 0;
    current = state;
    in_interp = true;
    __asm__ volatile("fninit");
    RunExit (*call)(Thread *, RunExit(*)(Thread *)) =
        (RunExit(*)(Thread *, RunExit(*)(Thread *)))(uintptr_t)(code + CALLER);
    RunExit why = call(&thread, interp_run);
    if (state->signal == 0 && why != RUN_SYSCALL)
        vm_die("the interpreter left for another reason", why);
    current = NULL;
    memcpy(state->vector, exchange->vector, sizeof state->vector);
    memcpy(state->reg, thread.cpu.reg, sizeof state->reg);
    state->rflags = thread.cpu.rflags;
    state->pc = thread.cpu.pc;
    memcpy(state->data, data, MACHINE_DATA);
}

/* ---- states ---- */

uint64_t machine_random(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t machine_value(uint64_t *seed)
{
    static const uint64_t edges[] = {
        0,          1,
        2,          15,
        16,         0x7f,
        0x80,       0xff,
        0x7fff,     0x8000,
        0xffff,     0x7fffffff,
        0x80000000, 0xffffffff,
        INT64_MAX,  UINT64_C(1) << 63,
        UINT64_MAX, 0x8080808080808080,
    };
    uint64_t r = machine_random(seed);
    if ((r & 3) == 0)
        return machine_random(seed);
    return edges[(r >> 8) % (sizeof edges / sizeof edges[0])] + ((r >> 32) % 3 - 1) * (r & 4) / 4;
}

void machine_randomize(MachineState *state, uint64_t *seed)
{
    enum { FIXED_FLAGS = 0x202, ARITHMETIC = 0x8d5 };
    for (int i = 0; i < N_GUEST_REGS; i++)
        state->reg[i] = machine_value(seed);
    state->reg[R_RSP] = machine_data() + MACHINE_DATA - MACHINE_STACK;
    state->rflags = FIXED_FLAGS | (machine_random(seed) & ARITHMETIC);
    for (size_t i = 0; i < MACHINE_DATA; i += 8) {
        uint64_t value = machine_value(seed);
        memcpy(&state->data[i], &value, 8);
    }
    for (size_t i = 0; i < sizeof state->vector; i += 8) {
        uint64_t value = machine_value(seed);
        memcpy((uint8_t *)state->vector + i, &value, 8);
    }
}

static bool differs(const char *what, unsigned i, uint64_t native, uint64_t interp)
{
    if (native == interp)
        return false;
    fprintf(stderr, "%s %u: cpu %#llx, interpreter %#llx\n", what, i, (unsigned long long)native,
            (unsigned long long)interp);
    return true;
}

bool machine_same(const MachineState *native, const MachineState *interp, uint64_t flags)
{
    bool bad = differs("signal", 0, (uint64_t)native->signal, (uint64_t)interp->signal);
    bad |= differs("pc - code", 0, native->pc - machine_code(), interp->pc - machine_code());
    for (unsigned i = 0; i < N_GUEST_REGS; i++)
        bad |= differs("register", i, native->reg[i], interp->reg[i]);
    bad |= differs("rflags", 0, native->rflags & flags, interp->rflags & flags);
    for (unsigned i = 0; i < MACHINE_DATA && !bad; i++)
        bad = differs("data", i, native->data[i], interp->data[i]);
    for (unsigned i = 0; i < sizeof native->vector && !bad; i++)
        bad = differs("vector byte", i, ((const uint8_t *)native->vector)[i],
                      ((const uint8_t *)interp->vector)[i]);
    return !bad;
}

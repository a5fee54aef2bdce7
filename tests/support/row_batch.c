/*
 * row_batch.c: the native loop, as machine code.
 *
 *     entry:  save the host's registers
 *     next:   window, flags, registers from pair.before ──► jump to the snippet
 *     back:   registers, flags, window to pair.after; the next pair; done: restore, return
 *
 * R15 points to the pair; the snippet may use every register, so it is kept in memory meanwhile.
 * The snippet stands where machine.c puts snippets, so RIP-relative operands are the same for both
 * sides.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/row_batch.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, VARIABLES = 3072, R15 = 15, MOV_LOAD = 0x8b, MOV_STORE = 0x89 };

typedef struct Variables {
    uint64_t pair, left, host_sp, r15, window;
} Variables;

static uint8_t *page, *at, *back;
static Variables *variables;
static size_t snippet_size;

static void put(const void *bytes, size_t n)
{
    memcpy(at, bytes, n);
    at += n;
}

static void put4(int32_t value)
{
    put(&value, 4);
}

#define PUT(...) put((uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* mov between `reg` and [base + disp]; base is r15 or rax. */
static void put_memory(unsigned opcode, unsigned reg, unsigned base, size_t disp)
{
    PUT((uint8_t)(0x48 | (reg >= 8 ? 4 : 0) | (base >= 8 ? 1 : 0)), (uint8_t)opcode,
        (uint8_t)(0x80 | (reg & 7) << 3 | (base & 7)));
    put4((int32_t)disp);
}

/* mov between `reg` and a variable. */
static void put_variable(unsigned opcode, unsigned reg, const uint64_t *variable)
{
    PUT((uint8_t)(0x48 | (reg >= 8 ? 4 : 0)), (uint8_t)opcode, (uint8_t)(0x05 | (reg & 7) << 3));
    put4((int32_t)((const uint8_t *)variable - (at + 4)));
}

static void put_window(bool load)
{
    size_t field = load ? offsetof(RowPair, before.window) : offsetof(RowPair, after.window);
    put_variable(MOV_LOAD, R_RAX, &variables->window);
    for (unsigned i = 0; i < BATCH_WINDOW; i++) {
        put_memory(MOV_LOAD, R_RCX, load ? R15 : R_RAX, load ? field + i * 8 : i * 8);
        put_memory(MOV_STORE, R_RCX, load ? R_RAX : R15, load ? i * 8 : field + i * 8);
    }
}

static void put_load(void)
{
    put_variable(MOV_LOAD, R15, &variables->pair);
    put_window(true);
    PUT(0x41, 0xff, 0xb7); /* push [r15 + disp32] */
    put4(offsetof(RowPair, before.rflags));
    PUT(0x9d); /* popf */
    for (unsigned reg = 0; reg < N_GUEST_REGS; reg++)
        put_memory(MOV_LOAD, reg, R15, offsetof(RowPair, before.reg) + reg * 8);
    uint64_t target = machine_code();
    PUT(0xff, 0x25, 0, 0, 0, 0); /* jmp [rip] */
    put(&target, sizeof target);
}

static void put_store(void)
{
    put_variable(MOV_STORE, R15, &variables->r15);
    put_variable(MOV_LOAD, R15, &variables->pair);
    for (unsigned reg = 0; reg < R15; reg++)
        put_memory(MOV_STORE, reg, R15, offsetof(RowPair, after.reg) + reg * 8);
    put_variable(MOV_LOAD, R_RSP, &variables->host_sp);
    PUT(0x9c, 0x41, 0x8f, 0x87); /* pushf; pop [r15 + disp32] */
    put4(offsetof(RowPair, after.rflags));
    put_variable(MOV_LOAD, R_RAX, &variables->r15);
    put_memory(MOV_STORE, R_RAX, R15, offsetof(RowPair, after.reg) + R15 * 8);
    put_window(false);
}

void batch_init(void)
{
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        abort();
    variables = (Variables *)(void *)(page + VARIABLES);
    at = page;
    PUT(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57);
    put_variable(MOV_STORE, R_RSP, &variables->host_sp);
    const uint8_t *next = at;
    put_load();
    back = at;
    put_store();
    PUT(0x49, 0x81, 0xc7); /* add r15, imm32 */
    put4(sizeof(RowPair));
    put_variable(MOV_STORE, R15, &variables->pair);
    PUT(0x48, 0xff, 0x0d); /* dec [rip + disp32] */
    put4((int32_t)((const uint8_t *)&variables->left - (at + 4)));
    PUT(0x0f, 0x85); /* jnz */
    put4((int32_t)(next - (at + 4)));
    PUT(0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
}

void batch_load(const uint8_t *code, size_t size, uint64_t window)
{
    machine_load(code, size);
    snippet_size = size;
    variables->window = window;
}

void batch_run_native(RowPair *pairs, size_t n)
{
    uint8_t *end = (uint8_t *)machine_code() + snippet_size;
    static const uint8_t jump[] = { 0xff, 0x25, 0, 0, 0, 0 };
    uint64_t target = (uint64_t)(uintptr_t)back;
    memcpy(end, jump, sizeof jump);
    memcpy(end + sizeof jump, &target, sizeof target);
    variables->pair = (uint64_t)(uintptr_t)pairs;
    variables->left = n;
    ((void (*)(void))(uintptr_t)page)();
}

void batch_to_interp(void)
{
    static const uint8_t syscall[] = { 0x0f, 0x05 };
    memcpy((uint8_t *)machine_code() + snippet_size, syscall, sizeof syscall);
}

void batch_run_interp(const RowState *before, RowState *after)
{
    Cpu *cpu = &machine_thread()->cpu;
    void *window = (void *)variables->window;
    memcpy(cpu->reg, before->reg, sizeof cpu->reg);
    memcpy(window, before->window, sizeof before->window);
    cpu->rflags = before->rflags;
    cpu->pc = machine_code();
    if (interp_run(machine_thread()) != RUN_SYSCALL)
        vm_die("the interpreter left for another reason", cpu->pc);
    memcpy(after->reg, cpu->reg, sizeof cpu->reg);
    memcpy(after->window, window, sizeof after->window);
    after->rflags = cpu->rflags;
}

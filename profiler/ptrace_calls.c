/*
 * ptrace_calls.c: stopping the world. A leak checker makes a child that shares its memory (clone
 * with CLONE_VM, without CLONE_THREAD), and the child stops every thread of its parent, reads their
 * registers, and searches memory at leisure.
 *
 *   child    attach ──► wait ──► registers ──► detach
 *   parent   runs       stopped, wherever in the VM that may be
 *
 * Both are guests of one VM, so a thread must not be stopped while it holds a lock of the VM's: the
 * child would wait for it for ever. All locks are taken before, and given back when it stands
 * still. The registers that are read are the guest's: where the thread stood on its VM stack they
 * are in its Cpu, elsewhere (translated code) in the processor.
 *
 * Every other use of ptrace would show the VM, or stop it at the wrong place: EPERM.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/ptrace_calls.h"
#include "profiler/memory.h"
#include "profiler/process.h"
#include "profiler/thread.h"

#include <asm/errno.h>
#include <asm/unistd.h>

/* Requests, and the kernel's user_regs_struct as words. */
enum {
    TRACE_PEEK_TEXT = 1,
    TRACE_PEEK_DATA = 2,
    TRACE_CONTINUE = 7,
    TRACE_KILL = 8,
    TRACE_GET_REGISTERS = 12,
    TRACE_ATTACH = 16,
    TRACE_DETACH = 17,
    TRACE_GET_SIGINFO = 0x4202,
    TRACE_GET_REGISTER_SET = 0x4204,
    SET_OF_REGISTERS = 1, /* NT_PRSTATUS */
    WORD_RIP = 16,
    WORD_FLAGS = 18,
    WORD_RSP = 19,
    N_WORDS = 27,
};

/* Of the registers in Cpu's order. */
static const uint8_t word_of[N_GUEST_REGS] = {
    [R_RAX] = 10, [R_RCX] = 11, [R_RDX] = 12, [R_RBX] = 5, [R_RSP] = WORD_RSP, [R_RBP] = 4,
    [R_RSI] = 13, [R_RDI] = 14, [R_R8] = 9,   [R_R9] = 8,  [R_R10] = 7,        [R_R11] = 6,
    [R_R12] = 3,  [R_R13] = 2,  [R_R14] = 1,  [R_R15] = 0,
};

static long trace(uint64_t request, uint64_t tid, uint64_t address, uint64_t data)
{
    return raw_syscall(__NR_ptrace, (long)request, (long)tid, (long)address, (long)data, 0, 0);
}

/* `tid` is a thread of the process that made this one, and shares its memory. */
static bool shares_memory(const Thread *thread, uint64_t tid)
{
    long parent = raw_syscall(__NR_getppid, 0, 0, 0, 0, 0, 0);
    return thread->os->borrowed && !thread->os->vfork_child &&
           raw_syscall(__NR_tgkill, parent, (long)tid, 0, 0, 0, 0) == 0;
}

/* Leaves the stop to be waited for by the guest. */
static long attach(Thread *thread, uint64_t tid)
{
    enum { BY_PID = 1, STOPPED = 2, LEAVE = 0x01000000, ALL = 0x40000000 };
    uint64_t info[SIGINFO_BYTES / 8];
    process_lock_all(thread);
    long result = trace(TRACE_ATTACH, tid, 0, 0);
    if (result == 0)
        raw_syscall(__NR_waitid, BY_PID, (long)tid, (long)info, STOPPED | LEAVE | ALL, 0, 0);
    process_unlock_all(thread);
    return result;
}

static void put_guest_registers(uint64_t *words)
{
    if (!memory_is_vm(words[WORD_RSP], words[WORD_RSP] + 1))
        return;
    const Cpu *cpu = &slot_thread((const void *)words[WORD_RSP])->cpu;
    for (int i = 0; i < N_GUEST_REGS; i++)
        words[word_of[i]] = cpu->reg[i];
    words[WORD_RIP] = cpu->pc;
    words[WORD_FLAGS] = cpu->rflags;
}

static long get_registers(uint64_t tid, uint64_t to, uint64_t size)
{
    uint64_t words[N_WORDS] = { 0 };
    long result = trace(TRACE_GET_REGISTERS, tid, 0, (uint64_t)words);
    if (result != 0)
        return result;
    put_guest_registers(words);
    return guest_write(to, words, size) ? 0 : -EFAULT;
}

/* The guest's { address, size } is told how much there was. */
static long get_register_set(uint64_t tid, uint64_t vector_at)
{
    uint64_t vector[2];
    if (!guest_read(vector, vector_at, sizeof vector))
        return -EFAULT;
    if (vector[1] > N_WORDS * sizeof(uint64_t))
        vector[1] = N_WORDS * sizeof(uint64_t);
    long result = get_registers(tid, vector[0], vector[1]);
    if (result == 0 && !guest_write(vector_at, vector, sizeof vector))
        return -EFAULT;
    return result;
}

CallFate call_ptrace(Thread *thread, Call *call)
{
    uint64_t tid = call->arg[1];
    call->result = -EPERM;
    if (!shares_memory(thread, tid))
        return CALL_DONE;
    switch (call->arg[0]) {
    case TRACE_ATTACH:
        call->result = attach(thread, tid);
        break;
    case TRACE_GET_REGISTERS:
        call->result = get_registers(tid, call->arg[3], N_WORDS * sizeof(uint64_t));
        break;
    case TRACE_GET_REGISTER_SET:
        if (call->arg[2] != SET_OF_REGISTERS)
            return syscall_pass(thread, call);
        call->result = get_register_set(tid, call->arg[3]);
        break;
    case TRACE_PEEK_TEXT:
    case TRACE_PEEK_DATA:
    case TRACE_CONTINUE:
    case TRACE_KILL:
    case TRACE_DETACH:
    case TRACE_GET_SIGINFO:
        return syscall_pass(thread, call);
    default:
        break;
    }
    return CALL_DONE;
}

/*
 * The process VM, seen from inside: what its two halves share.
 *
 *   interp side  decode.c records.c handlers.c flags.c thunk.c lookup.c   what instructions do
 *   system side  start.c load.c maps.c syscalls.c signals.c threads.c process.c live.c   all else
 *
 * Everything in the VM core is freestanding (design.md 3.1): compiled -mgeneral-regs-only
 * -ffreestanding -fno-stack-protector, no libc, no TLS, raw system calls, memory from vm_alloc.
 * Only decode.c talks to Zydis, through the gate.
 *
 * Lifetime of a guest thread: threads.c makes a Thread, fills its Cpu and calls thread_loop, which
 * calls interp_run over and over and acts on what it returns.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_VM_H
#define RESPIN_PROFILER_VM_H

#include "core/live_format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum GuestReg {
    R_RAX,
    R_RCX,
    R_RDX,
    R_RBX,
    R_RSP,
    R_RBP,
    R_RSI,
    R_RDI,
    R_R8,
    R_R9,
    R_R10,
    R_R11,
    R_R12,
    R_R13,
    R_R14,
    R_R15,
    N_GUEST_REGS
};

enum { SHADOW_SLOTS = 256 };

typedef struct Op Op; /* one decoded record; interp side */

typedef struct ShadowEntry {
    uint64_t return_to; /* guest address */
    const Op *call;     /* the record of the call */
} ShadowEntry;

/* Where the engines that decode at each execution are; private to them (step.h). */
typedef struct Step {
    uint64_t pc;                   /* the instruction that is being executed */
    uint64_t next;                 /* the one behind it */
    uint64_t end;                  /* of the block that holds them */
    uint64_t view;                 /* from a guest address to where its bytes are read */
    const struct Block *block;     /* what they are counted by */
    const Op *site;                /* of the block's last instruction */
    struct StepSeen *seen;         /* blocks by address, those entered last */
    uint32_t routine;              /* that executes it */
    uint32_t room;                 /* bytes that are valid in… */
    uint64_t bytes[2];             /* …its encoding, where it has no routine */
    _Alignas(16) uint64_t slot[6]; /* its operands, as a record */
} Step;

/*
 * The guest's integer state, one per thread. Vector, x87, MXCSR and FS are in the host's own
 * registers at all times, and so is GS unless vm_keeps_gs. While interp_run is active, flags may be
 * lazy (interp side knows how) and pc is stale; after it returns both are exact: flags in `rflags`,
 * `pc` the next instruction.
 */
typedef struct Cpu {
    uint64_t reg[N_GUEST_REGS];
    uint64_t pc;
    uint64_t rflags; /* CF PF AF ZF SF OF when flag_kind says so; DF AC ID always; IF as the kernel
                        shows */
    uint64_t flag_a; /* lazy flags: private to the interp side */
    uint64_t flag_b;
    uint32_t flag_kind;
    volatile uint32_t pending; /* set by signal handlers: leave at the next checked edge */
    uint64_t *counter;         /* this thread's counters, indexed by counter id */
    uint64_t host_sp;          /* the VM stack, while a thunk runs on guest RSP */
    uint64_t scratch[8];       /* for thunks */
    uint32_t shadow_top;
    ShadowEntry shadow[SHADOW_SLOTS]; /* return-address predictions, a ring */
    uint64_t after_syscall; /* where the system call that interp_run left for goes on… */
    uint32_t came_back;     /* …and the counter of its going on there; 0: none is due */
    const Op *missed;       /* an indirect branch whose target held no code; NULL: none… */
    uint64_t missed_pc;     /* …and the target: its edge is counted if interp_run goes on there */
    void *targets;    /* cache of indirect targets: private to the interp side, made on first use */
    uint64_t gs_base; /* the guest's, when the engine keeps host GS (vm_keeps_gs) */
    struct {
        const struct Block *block; /* interp_run finishes this block from cpu.pc on without counting
                                      it again; NULL: starts a block as always */
        uint32_t insn;             /* first instruction that was not executed */
        bool alone; /* interp_run executes the instruction at cpu.pc by itself, decoded now */
    } tail;
    struct {
        uint32_t edges_left;               /* edges until the burst ends */
        uint32_t changed;                  /* the code at pc is not what was decoded */
        const volatile uint64_t *critical; /* rseq_cs of the thread, or a word that is 0 */
    } burst;
    Step step;
} Cpu;

/* Why interp_run came back. cpu.pc, registers and flags are exact. */
typedef enum RunExit {
    RUN_SYSCALL,     /* cpu.pc is the `syscall` instruction (2 bytes); not yet done */
    RUN_PENDING,     /* cpu.pending was set */
    RUN_FETCH,       /* cpu.pc is not executable memory: a SIGSEGV at that address is due */
    RUN_BAD_CODE,    /* no valid instruction at cpu.pc: a SIGILL is due */
    RUN_UNSUPPORTED, /* vm->unsupported says what; message and exit 70 are due */
    RUN_BUS,         /* code at cpu.pc cannot be read, its file is shorter: a SIGBUS is due */
    RUN_VSYSCALL,    /* cpu.pc is one of the three vsyscall entries */
} RunExit;

/* An executable mapping of the guest. */
typedef struct CodeMap {
    uint64_t start;
    uint64_t end;
    uint32_t live; /* index of its LiveMap, made when code is first decoded; LIVE_NO_MAP */
    bool checked;  /* shared, or written often: compare bytes at block entry */
    bool writable; /* private: pages from which code was decoded are watched */
} CodeMap;

typedef enum Engine {
    ENGINE_SWITCH,    /* decode and dispatch, each time */
    ENGINE_INDIRECT,  /* the same, each routine finds the next */
    ENGINE_THREADED,  /* decoded once into records */
    ENGINE_TRANSLATE, /* code cache from the first execution on */
    ENGINE_AUTO,      /* threaded until a block is warm, then the code cache */
} Engine;

#define LIMIT_NONE (~UINT64_C(0))

/* The kernel's pair of limits, in bytes. */
typedef struct AddressLimit {
    uint64_t soft;
    uint64_t hard;
    bool is_set; /* by the guest */
} AddressLimit;

typedef struct VmOptions {
    Engine engine;
    bool values;             /* record values, too */
    const char *out;         /* absolute path of the live profile; NULL: none */
    const char *respin;      /* absolute path of respin, for the end; NULL: just exit */
    const char *vm;          /* absolute path of respin-vm, for execve of children */
    const char *zydis;       /* absolute path of libZydis.so */
    const char *model_out;   /* absolute path, model figures are appended at exit; NULL: no model */
    uint64_t run;            /* LiveHeader.run */
    struct BurstPort *burst; /* burst mode: where the injector and the core meet; NULL: a VM */
    bool no_follow;
    bool is_child;
    uint64_t cache_bytes;       /* bound of the code cache; 0: its own (cache.c) */
    AddressLimit address_space; /* RLIMIT_AS as the guest sees it (limit_calls.c)… */
    AddressLimit data;          /* …and RLIMIT_DATA */
} VmOptions;

typedef struct Vm {
    VmOptions options;
    volatile uint32_t code_lock; /* futex lock: decoding, lookup inserts, counter ids */
    uint64_t exe_start, exe_end; /* guest image, for brk */
    const char *unsupported;     /* set with RUN_UNSUPPORTED */
    struct Model *model;         /* list of the threads' models (model.h); NULL: none made */
} Vm;

typedef struct Thread {
    Cpu cpu; /* first */
    Vm *vm;
    struct Model
        *model; /* this thread's, made by threads.c; NULL: not running the front-end model */
    struct ThreadOs *os; /* profiler/thread.h; system side only */
} Thread;

/* Host GS belongs to the VM: guest GS is emulated. */
static inline bool vm_keeps_gs(const Vm *vm)
{
    return vm->options.engine >= ENGINE_TRANSLATE;
}

extern Vm the_vm; /* the one exception to "no globals": signal handlers start from it */

/* ---- interp side ------------------------------------------------------------------------- */

/* Once, before the first guest instruction. Loads Zydis. False: could not; text in vm->unsupported.
 */
bool interp_init(Vm *vm);
/* Runs the guest from cpu.pc. */
RunExit interp_run(Thread *thread);
/* Forgets decoded code in [start, end): unmapped, remapped, protection changed. Takes code_lock. */
void interp_invalidate(uint64_t start, uint64_t end);
/* The same with code_lock held. */
void interp_forget(uint64_t start, uint64_t end);
/*
 * From a host signal handler: the interrupted code belongs to a block that was forgotten, so what
 * follows must not be taken from it. interp_recover gives the state.
 */
bool interp_is_stale(const Thread *thread, const int64_t *host_gregs);
/*
 * From a host signal handler. host_gregs: uc_mcontext.gregs of the interrupted host context.
 * True: the host was inside a handler's guest memory access or inside a thunk, so the signal
 * belongs to the guest instruction; cpu is made exact (registers, rflags, pc of that instruction,
 * or of the next one for traps) as it was before it, and the partial block is counted. The caller
 * then abandons the interrupted host code: it resumes at thread_loop through its own entry.
 */
bool interp_recover(Thread *thread, const int64_t *host_gregs, int signal);
/* Address range of all interpreter host code and thunks contains `rip` (for asserting). */
bool interp_owns(uint64_t rip);

/* ---- system side ------------------------------------------------------------------------- */

/* Zeroed memory that is never freed, 16-byte aligned; ends the process with a message when none. */
void *vm_alloc(size_t size);
/* Executable memory for thunks: read-write-execute, never freed. */
uint8_t *vm_alloc_code(size_t size);
/* [start, end), which the VM has mapped elsewhere, is the VM's, too. */
void vm_claim(uint64_t start, uint64_t end);
/* Prints "respin: ..." to stderr and exits 70. */
__attribute__((noreturn)) void vm_die(const char *text, uint64_t value);
void vm_lock(volatile uint32_t *lock);
void vm_unlock(volatile uint32_t *lock);

/*
 * Copies `size` bytes of code at guest address `from`, which is readable as code: the guest itself
 * may not be able to read it (guard.h). How many there were: less, where the file that is mapped
 * there ends.
 */
size_t code_read(uint8_t *to, uint64_t from, size_t size);
/* What was read need not stay in memory. code_lock is held. */
void code_read_done(void);
/* Where the VM reads the byte of code at `address`, and those behind it in the same mapping. */
uint64_t code_view(uint64_t address);

/* The executable mapping that holds `addr`; false: none. Readable without a lock. */
bool map_find_code(uint64_t addr, CodeMap *out);

/* All take code_lock as held. A full disk turns counting into private memory; they never fail. */
uint32_t live_new_counters(uint32_t n);          /* first id; zero in every thread */
uint32_t live_add_block(const LiveBlock *block); /* its index; block->map filled in by it */
uint32_t live_add_edge(const LiveEdge *edge);
void live_add_sum(LiveSum sum);                    /* in the order that LiveSum asks for */
LiveValue *live_add_value(const LiveValue *value); /* to be changed in place; stays where it is */
void live_values_full(void);                       /* a site found no room: said in the profile */
/* No further counters and sums for code that has some: new ones are lost with the process, or
 * hardly any are left. */
bool live_is_full(void);

/* ---- raw system calls -------------------------------------------------------------------- */

static inline long raw_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#endif

/*
 * machine.h: runs one snippet of machine code twice, on the CPU and in the interpreter, from the
 * same state, and compares what came out. The system side is doubled (vm_double.h).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_MACHINE_H
#define RESPIN_TESTS_MACHINE_H

#include "profiler/vm.h"

enum { MACHINE_DATA = 4096, MACHINE_CODE = 512, MACHINE_STACK = 512, MACHINE_VECTORS = 8 };

typedef struct MachineState {
    uint64_t reg[N_GUEST_REGS];
    uint64_t rflags;
    uint64_t pc; /* out: where it stopped */
    int signal;  /* out: 0, or the fault that ended it */
    uint8_t vector[MACHINE_VECTORS][16];
    uint8_t data[MACHINE_DATA];
} MachineState;

/* Once per test program. The environment's VM_ENGINE names the engine: threaded without it. */
void machine_init(void);
/* Where code and data lie; the upper half of the data is the stack. */
uint64_t machine_code(void);
uint64_t machine_data(void);
/* An address that no access is allowed to. */
uint64_t machine_hole(void);
uint64_t machine_fs(void);
/* What the interpreter runs. */
Thread *machine_thread(void);

/* Puts a snippet at machine_code(). It must fall through at its end. */
void machine_load(const uint8_t *code, size_t size);
/* Runs the loaded snippet from `state`, which becomes the state after it. */
/* Puts bytes there that are not to be run. */
void machine_poke(const uint8_t *bytes, size_t size);
void machine_run_native(MachineState *state);
void machine_run_interp(MachineState *state);

/* A deterministic stream of numbers, with many that lie on boundaries. */
uint64_t machine_random(uint64_t *seed);
uint64_t machine_value(uint64_t *seed);
/* All registers and data from the stream; RSP points into the data. */
void machine_randomize(MachineState *state, uint64_t *seed);
/* Prints the first difference and returns false where there is one; flags outside `flags` differ
 * at will. */
bool machine_same(const MachineState *native, const MachineState *interp, uint64_t flags);

#endif

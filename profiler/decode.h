/*
 * decode.h: guest bytes to instructions, with what records and thunks need to know of each.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_DECODE_H
#define RESPIN_PROFILER_DECODE_H

#include "profiler/rows.h"

typedef enum InsnFlow {
    FLOW_NEXT,
    FLOW_COND,     /* target; cc is the condition */
    FLOW_COUNT,    /* loop loope loopne jrcxz jecxz: target; by mnemonic */
    FLOW_JUMP,     /* target */
    FLOW_CALL,     /* target */
    FLOW_JUMP_IND, /* register or memory operand */
    FLOW_CALL_IND,
    FLOW_RET,
    FLOW_SYSCALL,
    FLOW_ABORT,   /* xbegin: target is its fallback */
    FLOW_REFUSED, /* cannot be virtualized: far transfers, int 0x80, sysenter */
} InsnFlow;

/* Registers as byte offsets into Cpu; the second byte of rax rcx rdx rbx is an odd offset. */
enum { NO_REG = 255 };

/* Routines, numbered (fetch.h). */
enum { ROUTINES_OF_ROW = 16, NO_ROUTINE = 0xffff };

typedef struct GuestMem {
    uint8_t base, index; /* NO_REG: none */
    uint8_t scale;
    Mode mode;
    bool usable;  /* the operand modes of handlers cover it */
    int64_t disp; /* MODE_ABSOLUTE: the address */
} GuestMem;

typedef struct GuestInsn {
    uint64_t pc;
    uint64_t target;
    uint64_t imm;       /* sign-extended from the operand size */
    uint16_t mnemonic;  /* ZydisMnemonic */
    uint16_t regs;      /* general registers used in any way, bit per number */
    uint16_t written;   /* general registers written */
    uint16_t flags_in;  /* RFLAGS bits read */
    uint16_t flags_out; /* RFLAGS bits written, undefined ones included */
    uint8_t size;
    uint8_t shape;       /* Shape; SHAPE_COUNT: none that handlers know */
    uint8_t bits;        /* of operand 0 */
    uint8_t source_bits; /* of operand 1; 0: none */
    uint8_t a, b;        /* register operands in order; b: also of RRI */
    uint8_t flow;        /* InsnFlow */
    uint8_t cc;          /* FLOW_COND */
    uint8_t rip_modrm;   /* offset of the ModRM byte of a RIP-relative operand; 0: none */
    bool rip_high;       /* that ModRM's rm field is extended (REX.B and its likes) */
    bool faults;         /* may fault: accesses memory, or is not known to be harmless */
    bool is_string;      /* depends on the direction flag */
    bool locked;
    bool loads;       /* decoded by Zydis: reads an explicit memory operand */
    uint8_t gs_modrm; /* offset of the ModRM byte of a GS operand */
    bool gs;          /* the VM computes with the guest's GS base: never copied to the code cache */
    GuestMem mem;     /* with gs: [GS_ADDRESS_REG], which a record before it has set from gs_mem */
    GuestMem gs_mem;  /* mode MODE_COUNT: addresses are 32 bits wide */
    uint64_t rip_target; /* address of the RIP-relative operand */
    uint8_t bytes[15];
    uint16_t routine; /* fetch.h; NO_ROUTINE: decoded by Zydis */
} GuestInsn;

typedef enum DecodeEnd {
    DECODE_FLOW,  /* the last instruction transfers control */
    DECODE_LIMIT, /* goes on at the next address */
    DECODE_FETCH, /* stops: what follows is not executable memory */
    DECODE_BAD,   /* stops: what follows is no instruction */
    DECODE_BUS,   /* stops: what follows cannot be read, its file is shorter */
} DecodeEnd;

typedef struct DecodedRun {
    uint64_t pc;
    uint32_t n;
    uint32_t size;
    DecodeEnd end;
    bool ended; /* private to decode_run.c */
    CodeMap map;
    GuestInsn insn[BLOCK_MAX_INSNS];
} DecodedRun;

/* Loads the decoder; false: could not, *why says it. */
bool decode_init(const char *zydis_path, const char **why);
typedef enum DecodeAnswer {
    DECODED,
    DECODED_SHORT, /* more bytes are needed */
    DECODED_BAD,   /* no instruction */
} DecodeAnswer;
/* One instruction, by Zydis, from its bytes. In the gate; code_lock is held. */
DecodeAnswer decode_in_full(GuestInsn *insn, uint64_t pc, const uint8_t *bytes, unsigned room);

/* ---- decode_run.c ---- */

/* One instruction, by Zydis; at most `room` bytes, which can be read. code_lock is held. */
bool decode_one(GuestInsn *insn, uint64_t pc, unsigned room);
/* Decodes from `pc` up to a transfer, a limit, a page end or a map end. code_lock is held. */
void decode_run(uint64_t pc, DecodedRun *run);
/* How the live profile says that the run ends. */
LiveEnd decode_live_end(const DecodedRun *run);

#endif

/*
 * The instruction model: one decoded instruction as every stage sees it, and its effects.
 *
 * Decoding is Zydis; nothing outside core/insn.c and the VM's decoder includes Zydis headers.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_INSN_H
#define RESPIN_CORE_INSN_H

#include "core/addr.h"
#include "core/bytes.h"
#include "core/error.h"

typedef enum Flow {
    FLOW_NEXT,     /* goes on with the next instruction */
    FLOW_JUMP,     /* jmp rel8/rel32 */
    FLOW_COND,     /* jcc rel8/rel32 */
    FLOW_LOOP,     /* loop, loope, loopne, jrcxz, jecxz: rel8 only */
    FLOW_JUMP_IND, /* jmp r/m */
    FLOW_CALL,     /* call rel32 */
    FLOW_CALL_IND, /* call r/m */
    FLOW_RET,      /* ret, ret imm16, far returns, iret */
    FLOW_SYSCALL,  /* syscall, sysenter, int n: falls through */
    FLOW_STOP,     /* ud0, ud1, ud2, hlt, int3: does not go on by itself */
    FLOW_XBEGIN,   /* xbegin: a second, hidden successor */
} Flow;

/* What the displacement field of an instruction denotes. */
typedef enum InsnRef {
    REF_NONE,
    REF_BRANCH, /* rel8 or rel32 of a direct branch or call */
    REF_MEM,    /* RIP-relative disp32 of a memory operand (also lea) */
    REF_ABS,    /* absolute disp32 without base, sign-extended: only in fixed images */
    REF_DISP,   /* made instructions only: disp32 beside a base register that holds the base of the
                   table `table`: the distance from there to its clone */
} InsnRef;

enum InsnFact {
    INSN_ENDBR = 1u << 0,   /* endbr64 */
    INSN_NOP = 1u << 1,     /* any form of nop (endbr excluded) */
    INSN_LOCK = 1u << 2,    /* lock prefix or implicit lock (xchg mem) */
    INSN_NOTRACK = 1u << 3, /* notrack prefix on an indirect branch */
    INSN_MADE = 1u << 4, /* made by a pass: `addr` is VADDR_NONE or the instruction it stands for */
    INSN_EXACT_LEN =
        1u << 5, /* part of a TLS sequence or the like: never re-encode at another size */
};

enum { INSN_MAX_SIZE = 15 };

typedef struct Insn {
    Vaddr addr;                   /* where the original stands; VADDR_NONE: made by a pass */
    Vaddr ref_to;                 /* what `ref` denotes; VADDR_NONE when none */
    uint8_t bytes[INSN_MAX_SIZE]; /* encoding as at `addr` */
    uint8_t size;                 /* bytes, 1..15 */
    uint8_t flow;                 /* Flow */
    uint8_t cond;                 /* FLOW_COND: condition code 0..15 as in 0x70+cc */
    uint8_t ref;                  /* InsnRef */
    uint8_t ref_offset;           /* of the field in `bytes` */
    uint8_t ref_size;             /* of the field: 0, 1 or 4 */
    uint8_t facts;                /* InsnFact */
    uint16_t mnemonic;            /* ZydisMnemonic; opaque outside core/insn.c but for equality */
    int32_t table; /* REF_MEM/REF_ABS to a cloned table: index in Func.tables; else -1 */
} Insn;

/*
 * Decodes the instruction at the start of `code`.
 *
 * addr:   its link-time address, from which `ref_to` is computed.
 * Result: false when the bytes are no valid 64-bit instruction or run past the end of `code`.
 */
bool insn_decode(Bytes code, Vaddr addr, Insn *out);

/* Only length and direct-branch target, several times faster. target is VADDR_NONE when none. */
bool insn_decode_fast(Bytes code, Vaddr addr, uint8_t *size, uint8_t *flow, Vaddr *target);

/* Registers as bits: 0..15 = rax rcx rdx rbx rsp rbp rsi rdi r8..r15; any part of one is the whole.
 * A 32-bit write is a full write; 8- and 16-bit writes count as read and written. */
typedef uint32_t RegSet;
enum FlagBit {
    FLAG_CF = 1,
    FLAG_PF = 2,
    FLAG_AF = 4,
    FLAG_ZF = 8,
    FLAG_SF = 16,
    FLAG_OF = 32,
    FLAG_DF = 64,
    FLAG_OTHER = 128
};

typedef struct InsnEffects {
    RegSet reads;          /* general registers, address registers included */
    RegSet writes;         /* fully written (old value gone) */
    uint8_t flags_read;    /* FlagBit */
    uint8_t flags_written; /* defined or undefined afterwards; a flag that may stay (shift by cl) is
                              not here but in flags_read */
    bool reads_mem;
    bool writes_mem;
    bool vector;  /* touches vector, mask or x87 state */
    bool barrier; /* system, serialising, lock, or otherwise not to be reasoned about */
} InsnEffects;

/* Effects of one instruction; of calls and system calls: barrier, all registers read. */
void insn_effects(const Insn *insn, InsnEffects *out);

/* A memory operand in full. reg ids 0..15; -1: none; -2: rip. */
typedef struct InsnMem {
    int8_t base;
    int8_t index;
    uint8_t scale;   /* 1 2 4 8 */
    uint8_t size;    /* bytes accessed; 0 for lea */
    uint8_t segment; /* 0 none, 1 fs, 2 gs */
    int64_t disp;    /* for rip: the absolute link-time address */
} InsnMem;

typedef enum OperandKind {
    OPERAND_NONE,
    OPERAND_REG,
    OPERAND_MEM,
    OPERAND_IMM,
    OPERAND_OTHER
} OperandKind;

typedef struct Operand {
    OperandKind kind;
    int8_t reg;     /* OPERAND_REG: 0..15 */
    uint8_t size;   /* bytes */
    bool high_byte; /* ah ch dh bh */
    int64_t imm;    /* OPERAND_IMM, sign-extended to its size */
    InsnMem mem;
} Operand;

/* Mnemonics that analyses look at; INSN_OP_OTHER for the rest. */
typedef enum InsnOp {
    INSN_OP_OTHER,
    INSN_OP_MOV,
    INSN_OP_MOVZX,
    INSN_OP_MOVSX,
    INSN_OP_MOVSXD,
    INSN_OP_LEA,
    INSN_OP_ADD,
    INSN_OP_SUB,
    INSN_OP_AND,
    INSN_OP_OR,
    INSN_OP_XOR,
    INSN_OP_CMP,
    INSN_OP_TEST,
    INSN_OP_SHL,
    INSN_OP_SHR,
    INSN_OP_SAR,
    INSN_OP_PUSH,
    INSN_OP_POP,
    INSN_OP_INC,
    INSN_OP_DEC,
    INSN_OP_JMP,
    INSN_OP_CALL,
    INSN_OP_BT,
    INSN_OP_CMOV,
    INSN_OP_XCHG,
    INSN_OP_NEG,
    INSN_OP_NOT,
    INSN_OP_IMUL,
    INSN_OP_CLTQ,
    INSN_OP_LEAVE,
    INSN_OP_MOVABS,
} InsnOp;

/* Explicit operands, destination first; unused ones are OPERAND_NONE. */
InsnOp insn_operands(const Insn *insn, Operand out[3]);

/* Both at once, for analyses that look at every instruction. */
InsnOp insn_describe(const Insn *insn, Operand out[3], InsnEffects *effects);

/* Sets the displacement field so that the instruction at `at` denotes `target`. False: out of range
 * (rel8 fields too). `at` and `target` are addresses in one space (the output's). */
bool insn_set_ref(Insn *insn, uint64_t at, uint64_t target);

/* Intel-syntax text for messages and dumps, at most `size` bytes, always terminated. */
void insn_text(const Insn *insn, char *out, size_t size);

#endif

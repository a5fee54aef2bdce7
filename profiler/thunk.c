/*
 * thunk.c: native code for a run of instructions that have no handler.
 *
 *     save what is in the way         fa fb kind op of the convention, in registers the run leaves
 * free load flags, guest registers     only those that the run uses, each into its own namesake
 *     <the original instructions>     RIP-relative operands become [scratch + 0]
 *     store written registers, flags
 *     jump to the next record
 *
 * Guest registers keep their names, so the bytes are copied as they are; guest RSP is in RSP, which
 * is safe because host signal handlers run on a stack of their own. One thunk for a maximal run:
 * per instruction, floating-point code would be 25 times slower (field-notes section 5). A
 * RIP-relative operand keeps its length: mod 00 rm 101 disp32 becomes mod 10 rm scratch disp32 = 0.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/thunk.h"

#include "profiler/flags.h"
#include "profiler/gs.h"

enum {
    CHUNK = 256 * 1024,
    CHUNK_COUNT = 4096,
    CODE_ALIGN = 16,
    MAX_CODE = 4096, /* of one thunk: 64 instructions with an address each, prologue, epilogue */
};

typedef struct Chunk {
    const uint8_t *start, *end;
    Thunk **thunks; /* by address */
    volatile uint32_t n;
} Chunk;

static Chunk chunks[CHUNK_COUNT];
static volatile uint32_t n_chunks;
static uint8_t *next_code, *end_code;

/* ---- planning ---- */

static bool is_free(uint16_t used, unsigned reg)
{
    return (used & (1u << reg)) == 0;
}

/* A host register outside `used`, from `order`; NO_REG: none. */
static uint8_t pick(uint16_t used, const uint8_t *order, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (is_free(used, order[i]))
            return order[i];
    }
    return NO_REG;
}

static const uint8_t low_order[] = { R_RBX, R_RBP, R_RAX, R_RDI, R_RSI, R_RCX, R_RDX };
static const uint8_t high_order[] = { R_R15, R_R14, R_R13, R_R11, R_R10, R_R9, R_R8 };
static const uint8_t cpu_order[] = { R_RDI, R_R12, R_R15, R_R14, R_R13, R_R11, R_R10, R_R9,
                                     R_RBP, R_RBX, R_RSI, R_R8,  R_RCX, R_RDX, R_RAX };

/* Gives the run its scratch registers and the Cpu its home; false: too many registers are used. */
static bool plan_registers(ThunkPlan *plan, bool low, bool high)
{
    uint16_t used = plan->regs;
    plan->rip_low = low ? pick(used, low_order, sizeof low_order) : NO_REG;
    if (low && plan->rip_low == NO_REG)
        return false;
    used |= low ? (uint16_t)(1u << plan->rip_low) : 0;
    plan->rip_high = high ? pick(used, high_order, sizeof high_order) : NO_REG;
    if (high && plan->rip_high == NO_REG)
        return false;
    used |= high ? (uint16_t)(1u << plan->rip_high) : 0;
    plan->cpu = pick(used, cpu_order, sizeof cpu_order);
    return plan->cpu != NO_REG;
}

/* Flags are native from the first instruction that writes any; they must be loaded before it unless
 * it writes all, and before any reader. */
static void plan_flags(ThunkPlan *plan, const GuestInsn *insn)
{
    if (!plan->writes_flags &&
        (insn->flags_in != 0 || (insn->flags_out != 0 && insn->flags_out != RFLAGS_ARITH)))
        plan->needs_flags = true;
    if (insn->flags_out != 0)
        plan->writes_flags = true;
}

ThunkPlan thunk_plan(const DecodedRun *run, uint32_t first, const bool *wanted)
{
    ThunkPlan plan = { .first = first, .rip_low = NO_REG, .rip_high = NO_REG };
    bool low = false, high = false;
    for (uint32_t i = first; i < run->n && wanted[i]; i++) {
        const GuestInsn *insn = &run->insn[i];
        if (insn->gs && i > first) /* a record before the thunk computes its address */
            break;
        ThunkPlan more = plan;
        more.regs |= insn->regs;
        more.written |= insn->written;
        more.flags_out |= insn->flags_out;
        more.is_string |= insn->is_string;
        more.n++;
        bool rip = insn->rip_modrm != 0 || insn->gs;
        if (!plan_registers(&more, low || (rip && !insn->rip_high),
                            high || (rip && insn->rip_high)))
            break;
        plan_flags(&more, insn);
        low |= rip && !insn->rip_high;
        high |= rip && insn->rip_high;
        plan = more;
    }
    return plan;
}

/* ---- encoding ---- */

typedef struct Code {
    uint8_t *start, *at;
} Code;

static void put(Code *code, const void *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        *code->at++ = ((const uint8_t *)bytes)[i];
}

static void put1(Code *code, unsigned a)
{
    *code->at++ = (uint8_t)a;
}

static void put4(Code *code, uint32_t value)
{
    put(code, &value, 4);
}

enum { REX_W = 0x48, REX_R = 4, REX_B = 1, MOV_STORE = 0x89, MOV_LOAD = 0x8b };

/* mov between `reg` and [base + offset]. */
static void put_memory(Code *code, unsigned opcode, unsigned reg, unsigned base, size_t offset)
{
    put1(code, REX_W | (reg >= 8 ? REX_R : 0) | (base >= 8 ? REX_B : 0));
    put1(code, opcode);
    put1(code, 0x80 | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == R_RSP)
        put1(code, 0x24);
    put4(code, (uint32_t)offset);
}

static void put_move(Code *code, unsigned to, unsigned from)
{
    if (to == from)
        return;
    put1(code, REX_W | (from >= 8 ? REX_R : 0) | (to >= 8 ? REX_B : 0));
    put1(code, MOV_STORE);
    put1(code, 0xc0 | (from & 7) << 3 | (to & 7));
}

static void put_constant(Code *code, unsigned reg, uint64_t value)
{
    put1(code, REX_W | (reg >= 8 ? REX_B : 0));
    put1(code, 0xb8 | (reg & 7));
    put(code, &value, 8);
}

/* ---- the parts of a thunk ---- */

static const size_t flag_field[3] = { offsetof(Cpu, flag_a), offsetof(Cpu, flag_b),
                                      offsetof(Cpu, scratch) + 7 * sizeof(uint64_t) };
static const uint8_t flag_reg[3] = { R_RDX, R_RCX, R_R8 };

/* Where fa, fb and kind stay meanwhile: where they are, in a free register, or in the Cpu. */
static void plan_homes(const ThunkPlan *plan, uint8_t home[3])
{
    static const uint8_t order[] = { R_R9, R_R10, R_R11, R_RBX, R_RBP, R_R13, R_R14, R_R15, R_R12 };
    uint16_t used = plan->regs | (uint16_t)(1u << plan->cpu) | 1u << R_RAX;
    used |= plan->rip_low != NO_REG ? (uint16_t)(1u << plan->rip_low) : 0;
    used |= plan->rip_high != NO_REG ? (uint16_t)(1u << plan->rip_high) : 0;
    for (unsigned i = 0; i < 3; i++) {
        if (is_free(used, flag_reg[i]))
            home[i] = flag_reg[i];
        else
            home[i] = pick(used | 1u << R_RDX | 1u << R_RCX | 1u << R_R8, order, sizeof order);
        used |= home[i] != NO_REG ? (uint16_t)(1u << home[i]) : 0;
    }
}

static void put_prologue(Code *code, const ThunkPlan *plan, const uint8_t home[3])
{
    static const uint8_t test_df[] = { 0xf7, 0x87 };          /* test dword [rdi + disp32], imm32 */
    static const uint8_t if_set_std[] = { 0x74, 0x01, 0xfd }; /* jz +1; std */
    static const uint8_t load_flags[] = { 0x89, 0xd0, 0x04, 0x7f,
                                          0x9e }; /* mov eax,edx; add al,127; sahf */
    if (plan->is_string) {
        put(code, test_df, sizeof test_df);
        put4(code, offsetof(Cpu, rflags));
        put4(code, RFLAGS_DF);
        put(code, if_set_std, sizeof if_set_std);
    }
    for (unsigned i = 0; i < 3; i++) {
        if (home[i] == NO_REG)
            put_memory(code, MOV_STORE, flag_reg[i], R_RDI, flag_field[i]);
    }
    if (plan->needs_flags)
        put(code, load_flags, sizeof load_flags);
    for (unsigned i = 0; i < 3; i++) {
        if (home[i] != NO_REG)
            put_move(code, home[i], flag_reg[i]);
    }
    if ((plan->regs & 1u << R_RSP) != 0)
        put_memory(code, MOV_STORE, R_RSP, R_RDI, offsetof(Cpu, host_sp));
    put_move(code, plan->cpu, R_RDI);
    for (unsigned reg = 0; reg < N_GUEST_REGS; reg++) {
        if (!is_free(plan->regs, reg))
            put_memory(code, MOV_LOAD, reg, plan->cpu, reg * sizeof(uint64_t));
    }
}

static bool is_legacy_prefix(unsigned byte)
{
    static const uint8_t prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                        0x66, 0x67, 0xf0, 0xf2, 0xf3 };
    for (unsigned i = 0; i < sizeof prefixes; i++) {
        if (byte == prefixes[i])
            return true;
    }
    return false;
}

/*
 * A GS operand becomes [scratch]: the prefixes for segment and address size go, and ModRM, SIB and
 * displacement become mod 01 rm scratch disp8 = 0, which is never longer.
 */
static void put_gs_insn(Code *code, const GuestInsn *insn, unsigned scratch)
{
    enum { PREFIX_FS = 0x64, PREFIX_GS = 0x65, PREFIX_ADDRESS = 0x67, RM_SIB = 4, RM_DISP = 5 };
    const uint8_t *at = insn->bytes, *modrm = insn->bytes + insn->gs_modrm;
    for (; is_legacy_prefix(*at); at++) {
        if (*at != PREFIX_FS && *at != PREFIX_GS && *at != PREFIX_ADDRESS)
            put1(code, *at);
    }
    put(code, at, (unsigned)(modrm - at));
    unsigned mod = *modrm >> 6, rm = *modrm & 7;
    const uint8_t *rest = modrm + 1 + (rm == RM_SIB ? 1 : 0);
    bool wide = mod == 2 || (mod == 0 && (rm == RM_DISP || (rm == RM_SIB && (modrm[1] & 7) == 5)));
    rest += wide ? 4 : mod == 1 ? 1 : 0;
    put1(code, 0x40 | (*modrm & 0x38) | (scratch & 7));
    put1(code, 0);
    put(code, rest, (unsigned)(insn->bytes + insn->size - rest));
}

static void put_insn(Code *code, const ThunkPlan *plan, const GuestInsn *insn, ThunkInsn *where)
{
    if (insn->gs) {
        unsigned scratch = insn->rip_high ? plan->rip_high : plan->rip_low;
        put_memory(code, MOV_LOAD, scratch, plan->cpu, GS_ADDRESS_REG);
        where->start = (uint16_t)(code->at - code->start);
        put_gs_insn(code, insn, scratch);
    } else if (insn->rip_modrm == 0) {
        where->start = (uint16_t)(code->at - code->start);
        put(code, insn->bytes, insn->size);
    } else {
        unsigned scratch = insn->rip_high ? plan->rip_high : plan->rip_low;
        put_constant(code, scratch, insn->rip_target);
        where->start = (uint16_t)(code->at - code->start);
        uint8_t *copy = code->at;
        put(code, insn->bytes, insn->size);
        copy[insn->rip_modrm] = (uint8_t)(0x80 | (copy[insn->rip_modrm] & 0x38) | (scratch & 7));
        for (unsigned i = 1; i <= 4; i++)
            copy[insn->rip_modrm + i] = 0;
    }
    where->end = (uint16_t)(code->at - code->start);
}

static void put_epilogue(Code *code, const ThunkPlan *plan, const uint8_t home[3], bool save_flags,
                         const Op *next)
{
    /* lahf; seto al; movzx edx, ax; mov r8d, FLAGS_RAW */
    static const uint8_t take_flags[] = { 0x9f, 0x0f, 0x90,      0xc0, 0x0f, 0xb7, 0xd0,
                                          0x41, 0xb8, FLAGS_RAW, 0,    0,    0 };
    static const uint8_t jump_next[] = { 0xff, 0x26 }; /* jmp [rsi] */
    for (unsigned reg = 0; reg < N_GUEST_REGS; reg++) {
        if (!is_free(plan->written, reg))
            put_memory(code, MOV_STORE, reg, plan->cpu, reg * sizeof(uint64_t));
    }
    if (!is_free(plan->regs, R_RSP))
        put_memory(code, MOV_LOAD, R_RSP, plan->cpu, offsetof(Cpu, host_sp));
    put_move(code, R_RDI, plan->cpu);
    if (save_flags)
        put(code, take_flags, sizeof take_flags);
    for (unsigned i = 0; i < 3 && !save_flags; i++) {
        if (home[i] != NO_REG)
            put_move(code, flag_reg[i], home[i]);
        else
            put_memory(code, MOV_LOAD, flag_reg[i], R_RDI, flag_field[i]);
    }
    if (plan->is_string)
        put1(code, 0xfc); /* cld */
    put_constant(code, R_RSI, (uint64_t)(uintptr_t)next);
    put(code, jump_next, sizeof jump_next);
}

/* ---- making one ---- */

static void need_room(void)
{
    if (next_code != NULL && next_code + MAX_CODE <= end_code)
        return;
    if (n_chunks == CHUNK_COUNT)
        vm_die("too much generated code", CHUNK_COUNT);
    next_code = vm_alloc_code(CHUNK);
    end_code = next_code + CHUNK;
    Thunk **thunks = vm_alloc(CHUNK / CODE_ALIGN * sizeof(Thunk *));
    chunks[n_chunks] = (Chunk){ next_code, end_code, thunks, 0 };
    __atomic_store_n(&n_chunks, n_chunks + 1, __ATOMIC_RELEASE);
}

static void note_insns(Thunk *thunk, const DecodedRun *run, const ThunkPlan *plan)
{
    bool native = plan->needs_flags;
    for (uint32_t i = 0; i < plan->n; i++) {
        thunk->insn[i].index = (uint8_t)(plan->first + i);
        thunk->insn[i].flags_native = native;
        native |= run->insn[plan->first + i].flags_out != 0;
    }
}

Handler *thunk_make(const DecodedRun *run, const ThunkPlan *plan, const Block *block,
                    const Op *next, bool flags_live_after)
{
    uint8_t home[3];
    need_room();
    Thunk *thunk = vm_alloc(sizeof *thunk + plan->n * sizeof thunk->insn[0]);
    Code code = { next_code, next_code };
    note_insns(thunk, run, plan);
    plan_homes(plan, home);
    put_prologue(&code, plan, home);
    for (uint32_t i = 0; i < plan->n; i++)
        put_insn(&code, plan, &run->insn[plan->first + i], &thunk->insn[i]);
    put_epilogue(&code, plan, home, plan->writes_flags && flags_live_after, next);
    Chunk *chunk = &chunks[n_chunks - 1];
    thunk->code = code.start;
    thunk->size = (uint32_t)(code.at - code.start);
    thunk->n = plan->n;
    thunk->block = block;
    thunk->regs = plan->regs;
    thunk->home_fa = home[0];
    thunk->home_fb = home[1];
    thunk->home_kind = home[2];
    chunk->thunks[chunk->n] = thunk;
    __atomic_store_n(&chunk->n, chunk->n + 1, __ATOMIC_RELEASE);
    next_code += (thunk->size + CODE_ALIGN - 1) & ~(CODE_ALIGN - 1u);
    return (Handler *)(uintptr_t)code.start;
}

static const Thunk *find_thunk(const Chunk *chunk, const uint8_t *at)
{
    uint32_t low = 0, high = __atomic_load_n(&chunk->n, __ATOMIC_ACQUIRE);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const Thunk *thunk = chunk->thunks[middle];
        if (at < thunk->code)
            high = middle;
        else if (at < thunk->code + thunk->size)
            return thunk;
        else
            low = middle + 1;
    }
    return NULL;
}

const Thunk *thunk_at(uint64_t rip)
{
    const uint8_t *at = (const uint8_t *)rip;
    uint32_t n = __atomic_load_n(&n_chunks, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < n; i++) {
        if (at >= chunks[i].start && at < chunks[i].end)
            return find_thunk(&chunks[i], at);
    }
    return NULL;
}

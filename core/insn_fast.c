/*
 * insn_fast.c: instruction length and direct-branch target, without the rest.
 *
 *     prefixes* [REX] opcode [modrm [sib] [disp]] [imm]
 *     VEX/EVEX/XOP payload opcode modrm [sib] [disp] [imm8]
 *
 * Whole-module scans (every direct target at every decode) look at tens of millions of
 * instructions; the full decoder costs about 60 ns each, this about 5. One table entry per opcode
 * says what follows it. It may accept bytes that are no instruction: a scan that takes them for one
 * then sees more targets, never fewer. test_insn.c holds it to Zydis over whole libraries.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/insn.h"

/* What follows an opcode. */
enum {
    M = 1,     /* modrm */
    I1 = 2,    /* imm8 */
    I2 = 4,    /* imm16 */
    IZ = 8,    /* imm16 with a 66 prefix and no REX.W, else imm32 */
    IV = 16,   /* the same, imm64 with REX.W */
    BAD = 32,  /* no instruction in 64-bit mode */
    OFF = 64,  /* moffs: 8 bytes, 4 with a 67 prefix */
    SPC = 128, /* prefix, escape, or immediate that depends on modrm.reg */
};

// clang-format off
static const uint8_t one_byte[256] = {
    /* 00 */ M, M, M, M, I1, IZ, BAD, BAD, M, M, M, M, I1, IZ, BAD, SPC,
    /* 10 */ M, M, M, M, I1, IZ, BAD, BAD, M, M, M, M, I1, IZ, BAD, BAD,
    /* 20 */ M, M, M, M, I1, IZ, SPC, BAD, M, M, M, M, I1, IZ, SPC, BAD,
    /* 30 */ M, M, M, M, I1, IZ, SPC, BAD, M, M, M, M, I1, IZ, SPC, BAD,
    /* 40 */ SPC, SPC, SPC, SPC, SPC, SPC, SPC, SPC, SPC, SPC, SPC, SPC, SPC, SPC, SPC, SPC,
    /* 50 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    /* 60 */ BAD, BAD, SPC, M, SPC, SPC, SPC, SPC, IZ, M | IZ, I1, M | I1, 0, 0, 0, 0,
    /* 70 */ I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1, I1,
    /* 80 */ M | I1, M | IZ, BAD, M | I1, M, M, M, M, M, M, M, M, M, M, M, M,
    /* 90 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, BAD, 0, 0, 0, 0, 0,
    /* a0 */ OFF, OFF, OFF, OFF, 0, 0, 0, 0, I1, IZ, 0, 0, 0, 0, 0, 0,
    /* b0 */ I1, I1, I1, I1, I1, I1, I1, I1, IV, IV, IV, IV, IV, IV, IV, IV,
    /* c0 */ M | I1, M | I1, I2, 0, SPC, SPC, M | I1, M | IZ, I2 | I1, 0, I2, 0, 0, I1, BAD, 0,
    /* d0 */ M, M, M, M, BAD, BAD, BAD, 0, M, M, M, M, M, M, M, M,
    /* e0 */ I1, I1, I1, I1, I1, I1, I1, I1, IZ, IZ, BAD, I1, 0, 0, 0, 0,
    /* f0 */ SPC, 0, SPC, SPC, 0, 0, SPC, SPC, 0, 0, 0, 0, 0, 0, M, M,
};
static const uint8_t two_byte[256] = {
    /* 00 */ M, M, M, M, BAD, 0, 0, 0, 0, 0, BAD, 0, BAD, M, 0, M | I1,
    /* 10 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* 20 */ M, M, M, M, BAD, BAD, BAD, BAD, M, M, M, M, M, M, M, M,
    /* 30 */ 0, 0, 0, 0, 0, 0, BAD, 0, SPC, BAD, SPC, BAD, BAD, BAD, BAD, BAD,
    /* 40 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* 50 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* 60 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* 70 */ M | I1, M | I1, M | I1, M | I1, M, M, M, 0, SPC, M, BAD, BAD, M, M, M, M,
    /* 80 */ IZ, IZ, IZ, IZ, IZ, IZ, IZ, IZ, IZ, IZ, IZ, IZ, IZ, IZ, IZ, IZ,
    /* 90 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* a0 */ 0, 0, 0, M, M | I1, M, M, M, 0, 0, 0, M, M | I1, M, M, M,
    /* b0 */ M, M, M, M, M, M, M, M, M, M, M | I1, M, M, M, M, M,
    /* c0 */ M, M, M | I1, M, M | I1, M | I1, M | I1, M, 0, 0, 0, 0, 0, 0, 0, 0,
    /* d0 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* e0 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* f0 */ M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
};
// clang-format on

typedef struct Scan {
    const uint8_t *data;
    size_t len; /* at most INSN_MAX_SIZE */
    size_t at;
    bool operand16; /* 66 */
    bool address32; /* 67 */
    bool mandatory; /* f2 or f3 */
    bool rex_w;
    uint8_t map; /* 1: one-byte opcodes, 2: 0F, 3: 0F38, 4: 0F3A, 6 and 7: EVEX maps 5
                       and 6 (FP16), 8..10: XOP */
    bool vector; /* VEX, EVEX or XOP encoded */
    uint8_t opcode;
    uint8_t modrm;
} Scan;

static bool more(const Scan *scan, size_t count)
{
    return count <= scan->len - scan->at;
}

static bool is_prefix(Scan *scan, uint8_t byte)
{
    switch (byte) {
    case 0x66:
        scan->operand16 = true;
        return true;
    case 0x67:
        scan->address32 = true;
        return true;
    case 0xf2:
    case 0xf3:
        scan->mandatory = true;
        return true;
    case 0xf0:
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
        return true;
    default:
        return false;
    }
}

/* A REX prefix that is not the last one is ignored (SDM vol. 2A 2.2.1). */
static bool scan_prefixes(Scan *scan)
{
    while (more(scan, 1)) {
        uint8_t byte = scan->data[scan->at];
        if ((byte & 0xf0) == 0x40)
            scan->rex_w = (byte & 8) != 0;
        else if (is_prefix(scan, byte))
            scan->rex_w = false;
        else
            return true;
        scan->at++;
    }
    return false;
}

/* The payload of C4, C5, 62 and 8F; `bytes` in all before the opcode. */
static bool scan_vector_prefix(Scan *scan, size_t bytes, uint8_t map)
{
    if (!more(scan, bytes + 1))
        return false;
    scan->vector = true;
    scan->map = map;
    scan->at += bytes;
    scan->opcode = scan->data[scan->at++];
    return true;
}

static bool scan_escape(Scan *scan)
{
    if (!more(scan, 1))
        return false;
    scan->map = 2;
    scan->opcode = scan->data[scan->at++];
    if (scan->opcode != 0x38 && scan->opcode != 0x3a)
        return true;
    if (!more(scan, 1))
        return false;
    scan->map = scan->opcode == 0x38 ? 3 : 4;
    scan->opcode = scan->data[scan->at++];
    return true;
}

static bool scan_opcode(Scan *scan)
{
    uint8_t byte = scan->data[scan->at];
    uint8_t next = more(scan, 2) ? scan->data[scan->at + 1] : 0;
    if (byte == 0xc5)
        return scan_vector_prefix(scan, 2, 2);
    if (byte == 0xc4)
        return (next & 0x1f) >= 1 && (next & 0x1f) <= 3 &&
               scan_vector_prefix(scan, 3, (uint8_t)((next & 0x1f) + 1));
    if (byte == 0x62)
        return (next & 7) != 0 && scan_vector_prefix(scan, 4, (uint8_t)((next & 7) + 1));
    if (byte == 0x8f && (next & 0x1f) >= 8)
        return (next & 0x1f) <= 10 && scan_vector_prefix(scan, 3, next & 0x1f);
    scan->at++;
    scan->map = 1;
    scan->opcode = byte;
    return byte != 0x0f || scan_escape(scan);
}

/* modrm.reg decides about an immediate: F6 and F7 /0 and /1 (test); 0F 78 is extrq, insertq with
 * two immediates under 66 or F2. */
static uint8_t special_layout(const Scan *scan)
{
    uint8_t reg = more(scan, 1) ? scan->data[scan->at] >> 3 & 7 : 0;
    if (scan->map == 1 && scan->opcode == 0xf6)
        return reg < 2 ? M | I1 : M;
    if (scan->map == 1 && scan->opcode == 0xf7)
        return reg < 2 ? M | IZ : M;
    if (scan->map == 2 && scan->opcode == 0x78)
        return scan->operand16 || scan->mandatory ? M | I2 : M;
    return BAD;
}

static uint8_t vector_layout(const Scan *scan)
{
    if (scan->map == 4 || scan->map == 8)
        return M | I1;
    if (scan->map == 10)
        return M | IZ;
    if (scan->map != 2)
        return M;
    return scan->opcode == 0x77 ? 0 : M | (two_byte[scan->opcode] & I1);
}

static uint8_t layout_of(const Scan *scan)
{
    uint8_t layout = M;
    if (scan->vector)
        return vector_layout(scan);
    if (scan->map == 1)
        layout = one_byte[scan->opcode];
    else if (scan->map == 2)
        layout = two_byte[scan->opcode];
    else if (scan->map == 4)
        layout = M | I1;
    return layout == SPC ? special_layout(scan) : layout;
}

static size_t modrm_tail(const Scan *scan)
{
    uint8_t mod = scan->modrm >> 6;
    uint8_t rm = scan->modrm & 7;
    bool control = scan->map == 2 && !scan->vector && scan->opcode >= 0x20 && scan->opcode <= 0x23;
    if (mod == 3 || control)
        return 0;
    size_t sib = rm == 4 ? 1 : 0;
    uint8_t base = sib != 0 && more(scan, 1) ? scan->data[scan->at] & 7 : rm;
    if (mod == 0)
        return base == 5 ? sib + 4 : sib;
    return sib + (mod == 1 ? 1 : 4);
}

static size_t immediate_size(const Scan *scan, uint8_t layout)
{
    size_t word = scan->operand16 && !scan->rex_w ? 2 : 4;
    size_t size = 0;
    if ((layout & I1) != 0)
        size += 1;
    if ((layout & I2) != 0)
        size += 2;
    if ((layout & IZ) != 0)
        size += scan->vector ? 4 : word;
    if ((layout & IV) != 0)
        size += scan->rex_w ? 8 : word;
    if ((layout & OFF) != 0)
        size += scan->address32 ? 4 : 8;
    return size;
}

static Flow flow_of_one_byte(const Scan *scan)
{
    uint8_t opcode = scan->opcode;
    uint8_t reg = scan->modrm >> 3 & 7;
    if (opcode >= 0x70 && opcode <= 0x7f)
        return FLOW_COND;
    if (opcode >= 0xe0 && opcode <= 0xe3)
        return FLOW_LOOP;
    if (opcode == 0xff)
        return reg == 2 || reg == 3   ? FLOW_CALL_IND
               : reg == 4 || reg == 5 ? FLOW_JUMP_IND
                                      : FLOW_NEXT;
    if (opcode == 0xc7 && scan->modrm == 0xf8)
        return FLOW_XBEGIN;
    switch (opcode) {
    case 0xe8:
        return FLOW_CALL;
    case 0xe9:
    case 0xeb:
        return FLOW_JUMP;
    case 0xc2:
    case 0xc3:
    case 0xca:
    case 0xcb:
    case 0xcf:
        return FLOW_RET;
    case 0xcc:
    case 0xf4:
        return FLOW_STOP;
    case 0xcd:
    case 0xf1:
        return FLOW_SYSCALL;
    default:
        return FLOW_NEXT;
    }
}

static Flow flow_of_two_byte(const Scan *scan)
{
    uint8_t opcode = scan->opcode;
    switch (opcode) {
    case 0x01: /* F3 0F 01 EC: uiret */
        return scan->mandatory && scan->modrm == 0xec ? FLOW_RET : FLOW_NEXT;
    case 0x05:
    case 0x34:
        return FLOW_SYSCALL;
    case 0x07:
    case 0x35:
        return FLOW_RET;
    case 0x0b:
    case 0xb9:
    case 0xff:
        return FLOW_STOP;
    default:
        return (opcode & 0xf0) == 0x80 ? FLOW_COND : FLOW_NEXT;
    }
}

static Flow flow_of(const Scan *scan)
{
    if (scan->vector || scan->map > 2)
        return FLOW_NEXT;
    return scan->map == 1 ? flow_of_one_byte(scan) : flow_of_two_byte(scan);
}

static bool has_target(uint8_t flow)
{
    return flow == FLOW_JUMP || flow == FLOW_COND || flow == FLOW_LOOP || flow == FLOW_CALL ||
           flow == FLOW_XBEGIN;
}

static bool scan_tail(Scan *scan, size_t *immediate)
{
    uint8_t layout = layout_of(scan);
    if ((layout & BAD) != 0)
        return false;
    if ((layout & M) != 0) {
        if (!more(scan, 1))
            return false;
        scan->modrm = scan->data[scan->at++];
        size_t tail = modrm_tail(scan);
        if (!more(scan, tail))
            return false;
        scan->at += tail;
    }
    *immediate = immediate_size(scan, layout);
    if (!more(scan, *immediate))
        return false;
    scan->at += *immediate;
    return true;
}

/* One-byte opcodes that neither branch nor mean something else before some bytes (8F: XOP). */
static bool is_plain(uint8_t opcode)
{
    return opcode < 0x70 || (opcode >= 0x80 && opcode < 0xc2 && opcode != 0x8f) ||
           (opcode >= 0xd0 && opcode < 0xe0);
}

/*
 * The size of [66] [REX] opcode [modrm…] [imm] where the opcode is plain: three of four
 * instructions that are executed. 0: no such one, which says nothing.
 */
static size_t plain_size(const uint8_t *data)
{
    size_t word = 4;
    size_t at = 0;
    if (data[at] == 0x66) {
        word = 2;
        at++;
    }
    uint8_t rex = data[at] & 0xf0;
    if (rex == 0x40)
        word = (data[at++] & 8) != 0 ? 4 : word;
    uint8_t opcode = data[at++];
    uint8_t layout = one_byte[opcode];
    if (!is_plain(opcode) || (layout & ~(M | I1 | IZ)) != 0)
        return 0;
    if ((layout & M) != 0) {
        uint8_t modrm = data[at++];
        uint8_t mod = modrm >> 6;
        bool sib = mod != 3 && (modrm & 7) == 4;
        uint8_t base = sib ? data[at] & 7 : modrm & 7;
        at += sib + (mod == 1) + (mod == 2 || (mod == 0 && base == 5) ? 4u : 0u);
    }
    return at + ((layout & I1) != 0 ? 1 : 0) + ((layout & IZ) != 0 ? word : 0);
}

bool insn_decode_fast(Bytes code, Vaddr addr, uint8_t *size, uint8_t *flow, Vaddr *target)
{
    size_t plain = code.len >= INSN_MAX_SIZE ? plain_size(code.data) : 0;
    if (plain != 0) {
        *size = (uint8_t)plain;
        *flow = FLOW_NEXT;
        *target = VADDR_NONE;
        return true;
    }
    Scan scan = { .data = code.data, .len = code.len < INSN_MAX_SIZE ? code.len : INSN_MAX_SIZE };
    size_t immediate = 0;
    if (!scan_prefixes(&scan) || !scan_opcode(&scan) || !scan_tail(&scan, &immediate))
        return false;
    *size = (uint8_t)scan.at;
    *flow = (uint8_t)flow_of(&scan);
    *target = VADDR_NONE;
    if (!has_target(*flow))
        return true;
    if (immediate != 1 && immediate != 4)
        return false; /* 66 without REX.W: see insn.c */
    const uint8_t *field = code.data + scan.at - immediate;
    int64_t delta = immediate == 1 ? (int8_t)field[0] : (int32_t)load_u32(field);
    *target = vaddr(addr.v + scan.at + (uint64_t)delta);
    return true;
}

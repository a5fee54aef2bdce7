/*
 * Encoded pointers of .eh_frame, .eh_frame_hdr and LSDAs: one byte says form, base and indirection.
 *
 *     0x80 indirect | 0x70 what is added | 0x0f form        0xff: no pointer at all
 *
 * Format: LSB Core "DWARF Exception Header Encoding". Bases that nothing on x86-64 sets (text,
 * function) and the aligned form inside tables that move are the caller's to refuse.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_EH_POINTER_H
#define RESPIN_CORE_EH_POINTER_H

#include "core/image.h"

enum EhForm {
    EH_ABSPTR = 0x00,
    EH_ULEB128 = 0x01,
    EH_UDATA2 = 0x02,
    EH_UDATA4 = 0x03,
    EH_UDATA8 = 0x04,
    EH_SLEB128 = 0x09,
    EH_SDATA2 = 0x0a,
    EH_SDATA4 = 0x0b,
    EH_SDATA8 = 0x0c,
    EH_FORM_MASK = 0x0f,
};

enum EhBase {
    EH_PCREL = 0x10, /* from the pointer's own first byte */
    EH_TEXTREL = 0x20,
    EH_DATAREL = 0x30, /* from the start of .eh_frame_hdr, and only there */
    EH_FUNCREL = 0x40,
    EH_ALIGNED = 0x50, /* padded to an 8-byte address, then absolute */
    EH_BASE_MASK = 0x70,
};

enum { EH_INDIRECT = 0x80, EH_OMIT = 0xff };

enum { EH_PCREL4 = 0x1b }; /* pc-relative, signed, 4 bytes: what outputs use throughout */

typedef struct EhPointer {
    Vaddr to;     /* link-time address; of the slot that holds it when the encoding is indirect */
    Vaddr at;     /* of the pointer's own first byte (after padding when aligned) */
    bool is_null; /* the stored value is 0, which means none whatever the base */
} EhPointer;

/*
 * Reads one pointer at the cursor.
 *
 * base:   link-time address of the cursor's first byte (not of its position).
 * data:   what EH_DATAREL adds to; VADDR_NONE: such a pointer is refused.
 * Result: cursor->bad is set by bytes that run out; the pointer is null then.
 * Errors: ST_REFUSED for an encoding whose form or base is not known.
 */
MUST_CHECK Status eh_pointer_read(const Image *image, Cursor *cursor, Vaddr base, Vaddr data,
                                  uint8_t encoding, EhPointer *out, Error *err);

/* The number alone, in the form of `encoding`; base and indirection are not applied. An unknown
 * form sets cursor->bad. */
uint64_t eh_value_read(Cursor *cursor, uint8_t encoding);

/* Appends `to` as a 4-byte pc-relative pointer whose own address is `at`; false: out of range. */
bool eh_pcrel4_put(Buffer *out, uint64_t at, uint64_t to);

/* Bytes of a pointer; 0: not fixed (LEB128) or not known. */
uint32_t eh_pointer_size(uint8_t encoding);

#endif

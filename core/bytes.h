/*
 * Byte ranges that know their length, bounds-checked readers, and growing byte buffers.
 *
 * All multi-byte values are little-endian, whatever the host. No reader touches a byte outside its
 * range; every reader says so by returning false.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_BYTES_H
#define RESPIN_CORE_BYTES_H

#include "core/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Bytes {
    const uint8_t *data;
    size_t len;
} Bytes;

/* Overflow-safe: false when [offset, offset+size) is not inside `bytes`. */
bool bytes_slice(Bytes bytes, uint64_t offset, uint64_t size, Bytes *out);

/* A reading position. `bad` is sticky: set by any read past the end, which then yields 0. */
typedef struct Cursor {
    Bytes bytes;
    size_t at;
    bool bad;
} Cursor;

Cursor cursor_at(Bytes bytes, size_t offset);
uint8_t cursor_u8(Cursor *cursor);
uint16_t cursor_u16(Cursor *cursor);
uint32_t cursor_u32(Cursor *cursor);
uint64_t cursor_u64(Cursor *cursor);
uint64_t cursor_uleb(Cursor *cursor); /* longer than 10 bytes or over 64 bits: bad */
int64_t cursor_sleb(Cursor *cursor);
const char *cursor_string(Cursor *cursor); /* NUL-terminated inside the range, else bad and "" */
void cursor_skip(Cursor *cursor, uint64_t count);

/* A buffer that grows in an arena. Zero-initialise with { .arena = a }. */
typedef struct Buffer {
    Arena *arena;
    uint8_t *data;
    size_t len;
    size_t cap;
} Buffer;

void buffer_put(Buffer *buffer, const void *data, size_t size);
void buffer_fill(Buffer *buffer, uint8_t value, size_t count);
void buffer_align(Buffer *buffer, size_t alignment, uint8_t value); /* alignment: power of two */
void buffer_u8(Buffer *buffer, uint8_t value);
void buffer_u16(Buffer *buffer, uint16_t value);
void buffer_u32(Buffer *buffer, uint32_t value);
void buffer_u64(Buffer *buffer, uint64_t value);
void buffer_uleb_long(Buffer *buffer, uint64_t value);
/* Most numbers take one byte. */
static inline void buffer_uleb(Buffer *buffer, uint64_t value)
{
    if (value < 0x80 && buffer->len < buffer->cap)
        buffer->data[buffer->len++] = (uint8_t)value;
    else
        buffer_uleb_long(buffer, value);
}
void buffer_sleb(Buffer *buffer, int64_t value);
/* Formatted text, without a terminating zero. */
__attribute__((format(printf, 2, 3))) void buffer_print(Buffer *buffer, const char *format, ...);
Bytes buffer_bytes(const Buffer *buffer);

/* Little-endian loads and stores at an address the caller has checked. */
uint16_t load_u16(const uint8_t *at);
uint32_t load_u32(const uint8_t *at);
uint64_t load_u64(const uint8_t *at);
void store_u32(uint8_t *at, uint32_t value);
void store_u64(uint8_t *at, uint64_t value);

#endif

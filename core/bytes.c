/* bytes.c: checked readers and growing buffers, little-endian. SPDX-License-Identifier: MIT */
#include "core/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool bytes_slice(Bytes bytes, uint64_t offset, uint64_t size, Bytes *out)
{
    if (offset > bytes.len || size > bytes.len - offset)
        return false;
    /* Nothing may be added to a null pointer, not even 0 (C17 6.5.6). */
    *out = (Bytes){ bytes.data == NULL ? NULL : bytes.data + offset, size };
    return true;
}

uint16_t load_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

uint32_t load_u32(const uint8_t *at)
{
    return (uint32_t)load_u16(at) | (uint32_t)load_u16(at + 2) << 16;
}

uint64_t load_u64(const uint8_t *at)
{
    return (uint64_t)load_u32(at) | (uint64_t)load_u32(at + 4) << 32;
}

void store_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

void store_u64(uint8_t *at, uint64_t value)
{
    store_u32(at, (uint32_t)value);
    store_u32(at + 4, (uint32_t)(value >> 32));
}

Cursor cursor_at(Bytes bytes, size_t offset)
{
    return (Cursor){ bytes, offset, offset > bytes.len };
}

/* `size` bytes at the cursor, which moves on; NULL and bad when they are not there. */
static const uint8_t *take(Cursor *cursor, uint64_t size)
{
    Bytes slice;
    if (cursor->bad || !bytes_slice(cursor->bytes, cursor->at, size, &slice)) {
        cursor->bad = true;
        return NULL;
    }
    cursor->at += size;
    return slice.data;
}

uint8_t cursor_u8(Cursor *cursor)
{
    const uint8_t *at = take(cursor, 1);
    return at != NULL ? at[0] : 0;
}

uint16_t cursor_u16(Cursor *cursor)
{
    const uint8_t *at = take(cursor, 2);
    return at != NULL ? load_u16(at) : 0;
}

uint32_t cursor_u32(Cursor *cursor)
{
    const uint8_t *at = take(cursor, 4);
    return at != NULL ? load_u32(at) : 0;
}

uint64_t cursor_u64(Cursor *cursor)
{
    const uint8_t *at = take(cursor, 8);
    return at != NULL ? load_u64(at) : 0;
}

/* Both LEB128 forms: the raw bits, and how many there were. DWARF5 7.6. */
static uint64_t leb_bits(Cursor *cursor, unsigned *bits, uint8_t *last)
{
    uint64_t value = 0;
    *bits = 0;
    for (;;) {
        uint8_t byte = cursor_u8(cursor);
        *last = byte;
        if (*bits < 64)
            value |= (uint64_t)(byte & 0x7f) << *bits;
        *bits += 7;
        if ((byte & 0x80) == 0 || cursor->bad)
            return value;
        if (*bits >= 70) {
            cursor->bad = true;
            return 0;
        }
    }
}

uint64_t cursor_uleb(Cursor *cursor)
{
    unsigned bits;
    uint8_t last;
    uint64_t value = leb_bits(cursor, &bits, &last);
    if (bits > 64 && last > 1)
        cursor->bad = true;
    return cursor->bad ? 0 : value;
}

int64_t cursor_sleb(Cursor *cursor)
{
    unsigned bits;
    uint8_t last;
    uint64_t value = leb_bits(cursor, &bits, &last);
    if (bits < 64 && (last & 0x40) != 0)
        value |= UINT64_MAX << bits;
    return cursor->bad ? 0 : (int64_t)value;
}

const char *cursor_string(Cursor *cursor)
{
    size_t left = cursor->bad ? 0 : cursor->bytes.len - cursor->at;
    const uint8_t *at = left > 0 ? cursor->bytes.data + cursor->at : NULL;
    const uint8_t *end = left > 0 ? memchr(at, 0, left) : NULL;
    if (end == NULL) {
        cursor->bad = true;
        return "";
    }
    cursor->at += (size_t)(end - at) + 1;
    return (const char *)at;
}

void cursor_skip(Cursor *cursor, uint64_t count)
{
    take(cursor, count);
}

/* Room for `size` more bytes; where they start. */
static uint8_t *extend(Buffer *buffer, size_t size)
{
    buffer->data = arena_grow(buffer->arena, buffer->data, &buffer->cap, buffer->len + size, 1);
    uint8_t *at = buffer->data + buffer->len;
    buffer->len += size;
    return at;
}

void buffer_put(Buffer *buffer, const void *data, size_t size)
{
    if (size > 0)
        memcpy(extend(buffer, size), data, size);
}

void buffer_fill(Buffer *buffer, uint8_t value, size_t count)
{
    if (count > 0)
        memset(extend(buffer, count), value, count);
}

void buffer_align(Buffer *buffer, size_t alignment, uint8_t value)
{
    buffer_fill(buffer, value, (alignment - buffer->len % alignment) % alignment);
}

void buffer_u8(Buffer *buffer, uint8_t value)
{
    *extend(buffer, 1) = value;
}

void buffer_u16(Buffer *buffer, uint16_t value)
{
    uint8_t *at = extend(buffer, 2);
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

void buffer_u32(Buffer *buffer, uint32_t value)
{
    store_u32(extend(buffer, 4), value);
}

void buffer_u64(Buffer *buffer, uint64_t value)
{
    store_u64(extend(buffer, 8), value);
}

enum { LEB_MOST = 10 }; /* bytes of 64 bits */

void buffer_uleb_long(Buffer *buffer, uint64_t value)
{
    uint8_t *at = extend(buffer, LEB_MOST);
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        at[n++] = (uint8_t)(value | 0x80);
    at[n++] = (uint8_t)value;
    buffer->len -= LEB_MOST - n;
}

void buffer_sleb(Buffer *buffer, int64_t value)
{
    uint8_t *at = extend(buffer, LEB_MOST);
    size_t n = 0;
    for (; value < -0x40 || value >= 0x40; value >>= 7)
        at[n++] = (uint8_t)(value | 0x80);
    at[n++] = (uint8_t)(value & 0x7f);
    buffer->len -= LEB_MOST - n;
}

void buffer_print(Buffer *buffer, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof text) {
        buffer_put(buffer, text, (size_t)n);
    } else if (n > 0) {
        char *longer = arena_alloc(buffer->arena, (size_t)n + 1);
        va_start(args, format);
        vsnprintf(longer, (size_t)n + 1, format, args);
        va_end(args);
        buffer_put(buffer, longer, (size_t)n);
    }
}

Bytes buffer_bytes(const Buffer *buffer)
{
    return (Bytes){ buffer->data, buffer->len };
}

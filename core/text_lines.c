/* text_lines.c: see the header. SPDX-License-Identifier: MIT */
#include "core/text_lines.h"

#include <string.h>

bool lines_next(TextLines *lines)
{
    if (lines->at >= lines->file.len)
        return false;
    const uint8_t *from = lines->file.data + lines->at;
    size_t left = lines->file.len - lines->at;
    const uint8_t *end = memchr(from, '\n', left);
    size_t len = end != NULL ? (size_t)(end - from) : left;
    lines->start = lines->at;
    lines->at += len + 1;
    lines->number++;
    if (len > 0 && from[len - 1] == '\r')
        len--;
    lines->rest = (Bytes){ from, len };
    return true;
}

Bytes lines_word(TextLines *lines)
{
    Bytes rest = lines->rest;
    size_t start = 0;
    while (start < rest.len && (rest.data[start] == ' ' || rest.data[start] == '\t'))
        start++;
    size_t end = start;
    while (end < rest.len && rest.data[end] != ' ' && rest.data[end] != '\t')
        end += rest.data[end] == '\\' && end + 1 < rest.len ? 2 : 1;
    lines->rest = (Bytes){ rest.data + end, rest.len - end };
    return (Bytes){ rest.data + start, end - start };
}

static unsigned digit_of(uint8_t character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    uint8_t lower = character | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10u : 16;
}

bool word_number(Bytes word, unsigned base, uint64_t *out)
{
    size_t at = base == 16 && word.len > 2 && word.data[0] == '0' && word.data[1] == 'x' ? 2 : 0;
    uint64_t value = 0;
    if (at == word.len)
        return false;
    for (; at < word.len; at++) {
        unsigned digit = digit_of(word.data[at]);
        if (digit >= base || value > (UINT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    *out = value;
    return true;
}

bool word_is(Bytes word, const char *text)
{
    return word.len == strlen(text) && (word.len == 0 || memcmp(word.data, text, word.len) == 0);
}

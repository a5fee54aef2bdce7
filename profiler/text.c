/*
 * text.c: strings and messages without a libc.
 *
 * The mem* functions are `rep movsb` and `rep stosb`: short, and as fast as vector loops on every
 * processor with enhanced rep, without a vector register.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/text.h"
#include "profiler/burst.h"
#include "profiler/vm.h"

#include <asm/unistd.h>

enum { STDERR = 2, EXIT_BUG = 70 };

void *memcpy(void *to, const void *from, size_t size)
{
    void *at = to;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    if ((uintptr_t)to - (uintptr_t)from >= size)
        return memcpy(to, from, size);
    char *last_to = (char *)to + size - 1;
    const char *last_from = (const char *)from + size - 1;
    __asm__ volatile("std\n\trep movsb\n\tcld"
                     : "+D"(last_to), "+S"(last_from), "+c"(size)
                     :
                     : "memory", "cc");
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(byte) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *left = a;
    const uint8_t *right = b;
    for (size_t i = 0; i < size; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return 0;
}

size_t strlen(const char *text)
{
    size_t len = 0;
    while (text[len] != '\0') {
        len++;
        __asm__ volatile(""
                         : "+r"(len)); /* or the compiler turns this loop into a call of itself */
    }
    return len;
}

bool text_equal(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const char *text_after(const char *text, const char *prefix)
{
    while (*prefix != '\0')
        if (*text++ != *prefix++)
            return NULL;
    return text;
}

const char *text_base_name(const char *path)
{
    const char *base = path;
    for (const char *at = path; *at != '\0'; at++)
        if (*at == '/')
            base = at + 1;
    return base;
}

bool text_copy(char *to, size_t size, const char *from)
{
    size_t len = strlen(from);
    size_t fits = len < size ? len : size - 1;
    memcpy(to, from, fits);
    to[fits] = '\0';
    return fits == len;
}

void text_start(Text *text)
{
    text->len = 0;
    text->cut = false;
    text->bytes[0] = '\0';
}

void text_put(Text *text, const char *string)
{
    while (*string != '\0' && text->len + 1 < TEXT_MAX)
        text->bytes[text->len++] = *string++;
    text->bytes[text->len] = '\0';
    text->cut |= *string != '\0';
}

static void put_number(Text *text, uint64_t value, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits;
    digits[--at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    text_put(text, digits + at);
}

void text_put_dec(Text *text, uint64_t value)
{
    put_number(text, value, 10);
}

void text_put_hex(Text *text, uint64_t value)
{
    put_number(text, value, 16);
}

static unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    return 99;
}

uint64_t text_parse(const char **at, unsigned base)
{
    uint64_t value = 0;
    while (digit_value(**at) < base)
        value = value * base + digit_value(*(*at)++);
    return value;
}

void vm_say(const char *message)
{
    Text text;
    if (the_vm.options.burst != NULL)
        return; /* descriptor 2 is the guest's own affair */
    text_start(&text);
    text_put(&text, "respin: ");
    text_put(&text, message);
    if (text.len > TEXT_MAX - 2)
        text.len = TEXT_MAX - 2;
    text.bytes[text.len++] = '\n';
    raw_syscall(__NR_write, STDERR, (long)text.bytes, (long)text.len, 0, 0, 0);
}

void vm_die(const char *message, uint64_t value)
{
    Text text;
    text_start(&text);
    text_put(&text, message);
    text_put(&text, " 0x");
    text_put_hex(&text, value);
    if (the_vm.options.burst != NULL && the_vm.options.burst->state == BURST_STARTING)
        burst_fail(text.bytes);
    vm_say(text.bytes);
    for (;;)
        raw_syscall(__NR_exit_group, EXIT_BUG, 0, 0, 0, 0, 0);
}

/*
 * Strings and messages without a libc: the mem* functions that a compiler may call, short texts
 * built in a fixed buffer, and the VM's words on standard error.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_TEXT_H
#define RESPIN_PROFILER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_MAX = 4400 };

/* A text under construction; what does not fit is cut, and `cut` says so. Always terminated. */
typedef struct Text {
    size_t len;
    bool cut;
    char bytes[TEXT_MAX];
} Text;

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);

bool text_equal(const char *a, const char *b);
/* The rest of `text` after `prefix`, or NULL. */
const char *text_after(const char *text, const char *prefix);
/* The part after the last slash. */
const char *text_base_name(const char *path);
/* Copies with termination; false: it was cut. */
bool text_copy(char *to, size_t size, const char *from);

void text_start(Text *text);
void text_put(Text *text, const char *string);
void text_put_dec(Text *text, uint64_t value);
void text_put_hex(Text *text, uint64_t value);
/* Parses digits up to a byte that is none; moves *at. */
uint64_t text_parse(const char **at, unsigned base);

/* "respin: TEXT\n" on standard error, in one write. */
void vm_say(const char *text);

#endif

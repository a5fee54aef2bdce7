/*
 * A text file line by line, a line word by word, without a copy.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_TEXT_LINES_H
#define RESPIN_CORE_TEXT_LINES_H

#include "core/bytes.h"
#include "core/error.h"

typedef struct TextLines {
    const char *path; /* for messages */
    Bytes file;
    size_t at;    /* behind the line */
    size_t start; /* of the line */
    uint32_t number;
    Bytes rest; /* of the line, behind the words taken */
} TextLines;

/* The next line, without its end. False: there is none. */
bool lines_next(TextLines *lines);
/* The next word of the line; empty at its end. Words are apart by blanks and tabs; a character
 * behind a backslash belongs to its word. */
Bytes lines_word(TextLines *lines);

/* A whole word as a number, `base` 10 or 16 (then 0x may stand before it). */
bool word_number(Bytes word, unsigned base, uint64_t *out);
bool word_is(Bytes word, const char *text);

#define LINES_PLACE(lines) ((Place){ (lines)->path, NULL, (lines)->start })
#define LINES_FAIL(lines, err, format, ...)                                                        \
    FAIL((err), ST_BAD_INPUT, LINES_PLACE(lines), "line %" PRIu32 ": " format, (lines)->number,    \
         __VA_ARGS__)
/* A word in a message. */
#define WORD_TEXT(word) (int)((word).len < 60 ? (word).len : 60), (const char *)(word).data

#endif

/*
 * Pages for a browser: one file, no scripts, nothing fetched, light and dark.
 *
 * Everything goes into a Buffer; html_write puts it into a file at once. Text given to these
 * functions is escaped; only html_raw takes markup.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_HTML_H
#define RESPIN_CLI_HTML_H

#include "core/bytes.h"
#include "core/error.h"

/* The page up to its heading. */
void html_begin(Buffer *page, const char *title);
/* Its end, then the file: whole or not at all. Errors: ST_IO. */
MUST_CHECK Status html_write(Buffer *page, const char *path, Error *err);

void html_raw(Buffer *page, const char *markup);
__attribute__((format(printf, 2, 3))) void html_text(Buffer *page, const char *format, ...);
__attribute__((format(printf, 2, 3))) void html_paragraph(Buffer *page, const char *format, ...);

/* A table with a heading above it; `columns` ends with NULL, names that begin with '<' are those of
 * columns of words, set left. Then rows, then html_table_end. */
void html_table(Buffer *page, const char *heading, const char *const *columns);
void html_row(Buffer *page);
__attribute__((format(printf, 2, 3))) void html_cell(Buffer *page, const char *format, ...);
void html_words(Buffer *page, const char *text); /* a cell of a column of words */
/* "12.3%" over a bar of that length. percent: 0 to 100. */
void html_share(Buffer *page, double percent);
void html_table_end(Buffer *page);

#endif

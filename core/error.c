/* error.c: fills and prints errors. SPDX-License-Identifier: MIT */
#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>

Status error_set(Error *err, Status status, Place place, const char *noticed_at, const char *format,
                 ...)
{
    if (err == NULL)
        return status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    err->status = status;
    err->place = place;
    err->noticed_at = noticed_at;
    return status;
}

/* Writes at *at, never past the end, and moves *at by what was written. */
__attribute__((format(printf, 4, 5))) static void append(char *out, size_t size, size_t *at,
                                                         const char *format, ...)
{
    if (*at >= size)
        return;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out + *at, size - *at, format, args);
    va_end(args);
    if (n > 0)
        *at += (size_t)n;
}

void error_format(const Error *err, char *out, size_t out_size)
{
    size_t at = 0;
    if (out_size > 0)
        out[0] = '\0';
    const Place *place = &err->place;
    if (place->file != NULL)
        append(out, out_size, &at, "%s: ", place->file);
    if (place->section != NULL)
        append(out, out_size, &at, "%s", place->section);
    if (place->offset != PLACE_NO_OFFSET)
        append(out, out_size, &at, place->section != NULL ? "+0x%" PRIx64 : "offset 0x%" PRIx64,
               place->offset);
    if (place->section != NULL || place->offset != PLACE_NO_OFFSET)
        append(out, out_size, &at, ": ");
    append(out, out_size, &at, "%s", err->text);
    if (err->noticed_at != NULL)
        append(out, out_size, &at, " [%s]", err->noticed_at);
}

int status_exit_code(Status status)
{
    switch (status) {
    case ST_OK:
        return 0;
    case ST_REFUSED:
        return 4;
    case ST_BAD_INPUT:
        return 3;
    case ST_IO:
        return 5;
    case ST_BUG:
        break;
    }
    return 70;
}

/*
 * What went wrong, where, and who noticed.
 *
 * Functions that can fail return Status and fill an Error the caller owns. TRY(call) passes
 * anything but ST_OK on; arenas make that safe without cleanup labels.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_ERROR_H
#define RESPIN_CORE_ERROR_H

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>

typedef enum Status {
    ST_OK,
    ST_REFUSED,   /* legal input that we leave alone; exit status 4 */
    ST_BAD_INPUT, /* malformed input; exit status 3 */
    ST_IO,        /* the system said no (errno is in the text); exit status 5 */
    ST_BUG,       /* a fault of respin's own; exit status 70 */
} Status;

#define PLACE_NO_OFFSET UINT64_MAX

/* Where in the user's data. Strings are borrowed: they outlive the Error. */
typedef struct Place {
    const char *file;    /* NULL: no file */
    const char *section; /* NULL: the file as a whole */
    uint64_t offset;     /* bytes into the section, or into the file; PLACE_NO_OFFSET: none */
} Place;

#define NOWHERE ((Place){ NULL, NULL, PLACE_NO_OFFSET })

enum { ERROR_TEXT_MAX = 512 };

typedef struct Error {
    Status status;
    Place place;
    char text[ERROR_TEXT_MAX]; /* lower case, no full stop, the value found and the bound */
    const char *noticed_at;    /* our "file:line" */
} Error;

#define ERROR_STRING2(x) #x
#define ERROR_STRING(x) ERROR_STRING2(x)
#define ERROR_HERE __FILE__ ":" ERROR_STRING(__LINE__)

/* Fills `err` (may be NULL) and returns `status`. Text longer than ERROR_TEXT_MAX is cut. */
__attribute__((format(printf, 5, 6))) Status
error_set(Error *err, Status status, Place place, const char *noticed_at, const char *format, ...);

/* The second of two equal statuses: a constant, which the compiler then sees is not ST_OK. */
static inline Status error_status(Status set, Status given)
{
    (void)set;
    return given;
}

#define FAIL(err, status, place, ...)                                                              \
    error_status(error_set((err), (status), (place), ERROR_HERE, __VA_ARGS__), (status))

#define TRY(call)                                                                                  \
    do {                                                                                           \
        Status try_status_ = (call);                                                               \
        if (try_status_ != ST_OK)                                                                  \
            return try_status_;                                                                    \
    } while (0)

#define MUST_CHECK __attribute__((warn_unused_result))

/* Writes "file: section+0xoffset: text [core/image.c:25]" to `out`, always terminated. */
void error_format(const Error *err, char *out, size_t out_size);

/* The process exit status for a Status: 0, 4, 3, 5, 70. */
int status_exit_code(Status status);

/* A defensive branch that cannot happen: marked so that coverage stays honest. */
#define NEVER(x) (__builtin_expect(!!(x), 0))

#endif

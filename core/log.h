/*
 * Progress and remarks for the person at the terminal. Messages go through one sink that `cli/`
 * installs; without a sink (tests, fuzzers) they vanish. Nothing in core prints by itself.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_LOG_H
#define RESPIN_CORE_LOG_H

typedef enum LogLevel {
    LOG_WARN, /* something the user should know; shown unless --quiet */
    LOG_NOTE, /* a step done; shown unless --quiet */
    LOG_INFO, /* detail; shown with --verbose */
} LogLevel;

typedef struct Log {
    void (*write)(void *context, LogLevel level, const char *text); /* NULL: discard */
    void *context;
} Log;

/* `log` may be NULL. */
__attribute__((format(printf, 3, 4))) void log_print(const Log *log, LogLevel level,
                                                     const char *format, ...);

#endif

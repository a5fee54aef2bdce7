/* log.c: formats remarks and hands them to the sink. SPDX-License-Identifier: MIT */
#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>

enum { LOG_TEXT_MAX = 1024 };

void log_print(const Log *log, LogLevel level, const char *format, ...)
{
    if (log == NULL || log->write == NULL)
        return;
    char text[LOG_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log->write(log->context, level, text);
}

/*
 * html.c: tables, text and shares as HTML 5.
 *
 * A row's end is left out, as HTML allows: the next row ends it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/html.h"

#include "core/out_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char style[] =
    ":root{color-scheme:light dark;--line:#8884;--bar:#3b82f655;--good:#15803d;--bad:#b91c1c}"
    "@media(prefers-color-scheme:dark){:root{--good:#4ade80;--bad:#f87171}}"
    "body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid var(--line)}"
    "th{font-weight:600;vertical-align:bottom}"
    "tr>.w{text-align:left;overflow-wrap:anywhere}code,td.w{font-family:ui-monospace,monospace}"
    "td.s{background:linear-gradient(var(--bar),var(--bar)) left/var(--p) 100% no-repeat}"
    ".good{color:var(--good)}.bad{color:var(--bad)}svg text{fill:currentColor;font-size:12px}";

void html_raw(Buffer *page, const char *markup)
{
    buffer_put(page, markup, strlen(markup));
}

static void put_escaped(Buffer *page, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            html_raw(page, "&amp;");
            break;
        case '<':
            html_raw(page, "&lt;");
            break;
        case '>':
            html_raw(page, "&gt;");
            break;
        case '"':
            html_raw(page, "&quot;");
            break;
        default:
            buffer_u8(page, (uint8_t)*text);
        }
    }
}

__attribute__((format(printf, 2, 0))) static void put_formatted(Buffer *page, const char *format,
                                                                va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = arena_alloc(page->arena, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, format, args);
    put_escaped(page, text);
}

void html_text(Buffer *page, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_formatted(page, format, args);
    va_end(args);
}

void html_paragraph(Buffer *page, const char *format, ...)
{
    va_list args;
    html_raw(page, "<p>");
    va_start(args, format);
    put_formatted(page, format, args);
    va_end(args);
    html_raw(page, "</p>\n");
}

void html_begin(Buffer *page, const char *title)
{
    html_raw(page, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                   "<meta name=\"viewport\" content=\"width=device-width\"><title>");
    put_escaped(page, title);
    html_raw(page, "</title><style>");
    html_raw(page, style);
    html_raw(page, "</style></head><body>\n<h1>");
    put_escaped(page, title);
    html_raw(page, "</h1>\n");
}

Status html_write(Buffer *page, const char *path, Error *err)
{
    html_raw(page, "</body></html>\n");
    return out_file_write(path, buffer_bytes(page), err);
}

void html_table(Buffer *page, const char *heading, const char *const *columns)
{
    html_raw(page, "<h2>");
    put_escaped(page, heading);
    html_raw(page, "</h2>\n<table><thead><tr>");
    for (; *columns != NULL; columns++) {
        bool is_words = (*columns)[0] == '<';
        html_raw(page, is_words ? "<th class=\"w\">" : "<th>");
        put_escaped(page, *columns + is_words);
        html_raw(page, "</th>");
    }
    html_raw(page, "</tr></thead><tbody>");
}

void html_row(Buffer *page)
{
    html_raw(page, "\n<tr>");
}

void html_cell(Buffer *page, const char *format, ...)
{
    va_list args;
    html_raw(page, "<td>");
    va_start(args, format);
    put_formatted(page, format, args);
    va_end(args);
    html_raw(page, "</td>");
}

void html_words(Buffer *page, const char *text)
{
    html_raw(page, "<td class=\"w\">");
    put_escaped(page, text);
    html_raw(page, "</td>");
}

void html_share(Buffer *page, double percent)
{
    buffer_print(page, "<td class=\"s\" style=\"--p:%.1f%%\">%.1f%%</td>", percent, percent);
}

void html_table_end(Buffer *page)
{
    html_raw(page, "\n</tbody></table>\n");
}

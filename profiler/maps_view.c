/*
 * maps_view.c: /proc/self/maps and /proc/self/smaps without what is the VM's.
 *
 *     555555554000-555555555000 r-xp ... /usr/bin/true          stays
 *     7e8000000000-7e8000400000 rw-p ...                        goes, with its lines of smaps
 *     Size:               4096 kB
 *     7ffff7dc6000-7ffff7f1b000 r-xp ... /usr/lib/libc.so.6     stays
 *
 * The guest's descriptor leads to a memory file with what the list said when it was opened: readers
 * read such lists at once. Sanitizers refuse to start when they find mappings where they expect
 * none, and collectors scan all that they find.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/maps_view.h"
#include "profiler/guard.h"
#include "profiler/memory.h"
#include "profiler/process.h"
#include "profiler/text.h"
#include "profiler/watch.h"

#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/memfd.h>

enum { BUFFER_BYTES = 1 << 14 }; /* on the VM's stack: a mapping would show in the list */

bool maps_view_is_wanted(uint64_t path)
{
    return process_is_own(path, "/maps") || process_is_own(path, "/smaps");
}

/* "start-end ..." begins a mapping; lines of smaps about it begin with a capital. */
static bool begins_mapping(const char *line)
{
    return (*line >= '0' && *line <= '9') || (*line >= 'a' && *line <= 'f');
}

static bool is_the_vms(const char *line)
{
    uint64_t start = text_parse(&line, 16);
    line += *line == '-';
    return memory_is_vm(start, text_parse(&line, 16));
}

/*
 * Moves the lines of [buffer, buffer + have) that stay to its beginning; bytes kept. What is left
 * of a line without an end follows after *used. *hidden: the mapping that is under way goes.
 */
static size_t keep_lines(char *buffer, size_t have, bool *hidden, size_t *used)
{
    size_t kept = 0;
    size_t line = 0;
    for (size_t i = 0; i < have; i++) {
        if (buffer[i] != '\n')
            continue;
        if (begins_mapping(buffer + line))
            *hidden = is_the_vms(buffer + line);
        size_t size = i + 1 - line;
        if (!*hidden) {
            memmove(buffer + kept, buffer + line, size);
            kept += size;
        }
        line = i + 1;
    }
    *used = line;
    return kept;
}

static bool write_all(long fd, const char *bytes, size_t size)
{
    while (size > 0) {
        long done = raw_syscall(__NR_write, fd, (long)bytes, (long)size, 0, 0, 0);
        if (done <= 0)
            return false;
        bytes += done;
        size -= (size_t)done;
    }
    return true;
}

static bool copy_view(long from, long to)
{
    char buffer[BUFFER_BYTES];
    size_t have = 0;
    bool hidden = false;
    for (;;) {
        long got = raw_syscall(__NR_read, from, (long)(buffer + have), (long)(BUFFER_BYTES - have),
                               0, 0, 0);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        size_t used;
        have += (size_t)got;
        size_t kept = keep_lines(buffer, have, &hidden, &used);
        if (!write_all(to, buffer, kept))
            return false;
        memmove(buffer, buffer + used, have - used);
        have -= used;
    }
}

/* A description of the memory file that can only be read, at its beginning. */
static long reopen_to_read(long fd)
{
    Text link;
    text_start(&link);
    text_put(&link, "/proc/self/fd/");
    text_put_dec(&link, (uint64_t)fd);
    return raw_syscall(__NR_openat, AT_FDCWD, (long)link.bytes, O_RDONLY | O_CLOEXEC, 0, 0, 0);
}

static void put_in_place(long view, int64_t fd)
{
    long flags = raw_syscall(__NR_fcntl, (long)fd, F_GETFD, 0, 0, 0, 0);
    long close_on_exec = flags > 0 && (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0;
    raw_syscall(__NR_dup3, view, (long)fd, close_on_exec, 0, 0, 0);
}

void maps_view_replace(int64_t fd)
{
    long file = raw_syscall(__NR_memfd_create, (long)"maps", MFD_CLOEXEC, 0, 0, 0, 0);
    long view = -1;
    bool whole = false;
    if (file >= 0) {
        view = reopen_to_read(file);
        guard_lift(0, UINT64_MAX); /* as the guest has it */
        watch_let_write_all();
        whole = view >= 0 && copy_view((long)fd, file);
        guard_close(0, UINT64_MAX);
    }
    if (whole)
        put_in_place(view, fd);
    else
        raw_syscall(__NR_lseek, (long)fd, 0, 0, 0, 0, 0);
    if (view >= 0)
        raw_syscall(__NR_close, view, 0, 0, 0, 0, 0);
    if (file >= 0)
        raw_syscall(__NR_close, file, 0, 0, 0, 0, 0);
}

/* out_file.c: see the header. SPDX-License-Identifier: MIT */
#include "core/out_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Status write_all(int fd, const char *path, Bytes file, Error *err)
{
    size_t at = 0;
    while (at < file.len) {
        ssize_t wrote = write(fd, file.data + at, file.len - at);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return FAIL(err, ST_IO, ((Place){ path, NULL, at }), "cannot be written: %s",
                        strerror(errno));
        at += (size_t)wrote;
    }
    return ST_OK;
}

static Status write_file(const char *temporary, const char *path, Bytes file, Error *err)
{
    Place at = { path, NULL, PLACE_NO_OFFSET };
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return FAIL(err, ST_IO, at, "no file can be made beside it: %s", strerror(errno));
    Status status = write_all(fd, path, file, err);
    if (close(fd) != 0 && status == ST_OK)
        status = FAIL(err, ST_IO, at, "cannot be written: %s", strerror(errno));
    if (status == ST_OK && rename(temporary, path) != 0)
        status = FAIL(err, ST_IO, at, "cannot be replaced: %s", strerror(errno));
    if (status != ST_OK)
        unlink(temporary);
    return status;
}

bool out_file_is_special(const char *path)
{
    struct stat there;
    return stat(path, &there) == 0 && !S_ISREG(there.st_mode);
}

bool out_file_is_same(const char *left, const char *right)
{
    struct stat a, b;
    return stat(left, &a) == 0 && stat(right, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

Status out_file_check(const char *path, Error *err)
{
    char magic[SELFMAG] = { 0 };
    int fd = out_file_is_special(path) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ST_OK;
    ssize_t got = read(fd, magic, sizeof magic);
    close(fd);
    if (got == SELFMAG && memcmp(magic, ELFMAG, SELFMAG) == 0)
        return FAIL(err, ST_REFUSED, ((Place){ path, NULL, PLACE_NO_OFFSET }),
                    "is a program: what is none does not take its place");
    return ST_OK;
}

static Status write_into(const char *path, Bytes file, Error *err)
{
    Place at = { path, NULL, PLACE_NO_OFFSET };
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(err, ST_IO, at, "cannot be opened: %s", strerror(errno));
    Status status = write_all(fd, path, file, err);
    if (close(fd) != 0 && status == ST_OK)
        status = FAIL(err, ST_IO, at, "cannot be written: %s", strerror(errno));
    return status;
}

Status out_file_write(const char *path, Bytes file, Error *err)
{
    if (out_file_is_special(path))
        return write_into(path, file, err);
    TRY(out_file_check(path, err));
    Arena *arena = arena_new();
    const char *temporary = arena_printf(arena, "%s.tmp-%ld", path, (long)getpid());
    Status status = write_file(temporary, path, file, err);
    arena_free(arena);
    return status;
}

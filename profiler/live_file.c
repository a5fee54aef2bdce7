/*
 * live_file.c: the live profile as a file.
 *
 * Names (OUT is absolute):  OUT                      the first program of the run's first process
 *                           OUT.live-RUN-PID-N       every other: children, and programs after
 * execve RUN is 16 hexadecimal digits, PID and N decimal; N makes the name new (a process may
 * execve).
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/live_file.h"
#include "profiler/memory.h"
#include "profiler/text.h"

#include <asm/errno.h>
#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/resource.h>

enum {
    MODE = 0644,
    TRIES = 1000,
    ZEROS = 1 << 16,
    RUN_DIGITS = 16,
};

static long open_at(const char *path, long flags)
{
    return raw_syscall(__NR_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, MODE, 0, 0);
}

static void close_fd(long fd)
{
    raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
}

static bool identify(long fd, uint64_t *inode, uint64_t *device)
{
    struct stat info = { 0 };
    if (raw_syscall(__NR_fstat, fd, (long)&info, 0, 0, 0, 0) != 0)
        return false;
    *inode = info.st_ino;
    *device = info.st_dev;
    return true;
}

/* The file itself, or an error: not what else may bear its name by now. */
static long open_own(const LiveFile *file)
{
    uint64_t inode, device;
    long fd = open_at(file->path, O_RDWR | O_NOFOLLOW);
    if (fd < 0)
        return fd;
    if (identify(fd, &inode, &device) && inode == file->inode && device == file->device)
        return fd;
    close_fd(fd);
    return -ESTALE;
}

static void put_run(Text *text, uint64_t run)
{
    for (int shift = 4 * (RUN_DIGITS - 1); shift >= 0; shift -= 4) {
        char digit[2] = { "0123456789abcdef"[(run >> shift) & 15], '\0' };
        text_put(text, digit);
    }
}

static void name_live(Text *text, const VmOptions *options, const char *word, uint64_t n)
{
    text_start(text);
    text_put(text, options->out);
    text_put(text, word);
    put_run(text, options->run);
    text_put(text, "-");
    text_put_dec(text, (uint64_t)raw_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0));
    text_put(text, "-");
    text_put_dec(text, n);
}

/* `out` is the live profile of this run already: the first process went on by execve. */
static bool out_is_of_this_run(const VmOptions *options)
{
    long fd = open_at(options->out, O_RDONLY);
    if (fd < 0)
        return false;
    LiveHeader head = { 0 };
    long got = raw_syscall(__NR_pread64, fd, (long)&head, sizeof head, 0, 0, 0);
    close_fd(fd);
    return got == (long)sizeof head && head.magic == LIVE_MAGIC && head.run == options->run;
}

static bool create_new(LiveFile *file, const VmOptions *options, const char *word)
{
    for (uint64_t n = 0; n < TRIES; n++) {
        Text name;
        name_live(&name, options, word, n);
        if (name.cut || !text_copy(file->path, sizeof file->path, name.bytes))
            return false;
        long fd = open_at(file->path, O_RDWR | O_CREAT | O_EXCL);
        if (fd >= 0) {
            bool known = identify(fd, &file->inode, &file->device);
            close_fd(fd);
            return known;
        }
        if (fd != -EEXIST)
            return false;
    }
    return false;
}

bool live_file_create(LiveFile *file, const VmOptions *options)
{
    file->size = 0;
    bool named_out = !options->is_child && !out_is_of_this_run(options);
    return create_new(file, options, named_out ? ".tmp-" : ".live-");
}

bool live_file_publish(LiveFile *file, const VmOptions *options)
{
    const char *rest = text_after(file->path, options->out);
    if (rest == NULL || text_after(rest, ".tmp-") == NULL)
        return true;
    if (raw_syscall(__NR_rename, (long)file->path, (long)options->out, 0, 0, 0, 0) != 0)
        return false;
    return text_copy(file->path, sizeof file->path, options->out);
}

/* A file over its size limit would send the guest a SIGXFSZ. */
static bool fits_limit(uint64_t end)
{
    struct rlimit64 {
        uint64_t now;
        uint64_t most;
    } limit = { 0, 0 };
    if (raw_syscall(__NR_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit, 0, 0) != 0)
        return true;
    return end <= limit.now;
}

static bool write_zeros(long fd, uint64_t offset, uint64_t size)
{
    void *zeros = memory_scratch(ZEROS);
    bool done = zeros != NULL;
    while (done && size != 0) {
        long part = size < ZEROS ? (long)size : ZEROS;
        long wrote = raw_syscall(__NR_pwrite64, fd, (long)zeros, part, (long)offset, 0, 0);
        if (wrote == -EINTR)
            continue;
        done = wrote > 0;
        offset += done ? (uint64_t)wrote : 0;
        size -= done ? (uint64_t)wrote : 0;
    }
    memory_scratch_free(zeros, ZEROS);
    return done;
}

bool live_file_allocate(LiveFile *file, uint64_t offset, uint64_t size)
{
    if (!fits_limit(offset + size))
        return false;
    long fd = open_own(file);
    if (fd < 0)
        return false;
    long result = -EINTR;
    while (result == -EINTR)
        result = raw_syscall(__NR_fallocate, fd, 0, (long)offset, (long)size, 0, 0);
    bool done = result == 0;
    if (result == -EOPNOTSUPP || result == -ENOSYS)
        done = write_zeros(fd, offset, size);
    close_fd(fd);
    if (done && offset + size > file->size)
        file->size = offset + size;
    return done;
}

void live_file_remove(const LiveFile *file)
{
    long fd = open_own(file);
    if (fd < 0)
        return;
    close_fd(fd);
    raw_syscall(__NR_unlink, (long)file->path, 0, 0, 0, 0, 0);
}

void live_file_give(const LiveFile *file, uint32_t user)
{
    long fd = open_own(file);
    if (fd < 0)
        return;
    raw_syscall(__NR_fchown, fd, (long)user, -1, 0, 0, 0);
    close_fd(fd);
}

bool live_file_map(const LiveFile *file, void *at, uint64_t offset, uint64_t size)
{
    long fd = open_own(file);
    if (fd < 0)
        return false;
    long got = raw_syscall(__NR_mmap, (long)at, (long)size, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_FIXED, fd, (long)offset);
    close_fd(fd);
    if (the_vm.options.burst != NULL && got == (long)at)
        memory_keep_from_children(at, size);
    return got == (long)at;
}

bool live_file_write(const LiveFile *file, uint64_t offset, const void *from, uint64_t size)
{
    long fd = open_own(file);
    if (fd < 0)
        return false;
    const char *at = from;
    bool done = true;
    while (done && size != 0) {
        long wrote = raw_syscall(__NR_pwrite64, fd, (long)at, (long)size, (long)offset, 0, 0);
        if (wrote == -EINTR)
            continue;
        done = wrote > 0;
        at += done ? wrote : 0;
        offset += done ? (uint64_t)wrote : 0;
        size -= done ? (uint64_t)wrote : 0;
    }
    close_fd(fd);
    return done;
}

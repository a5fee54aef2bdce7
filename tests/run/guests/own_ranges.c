/*
 * own_ranges.c: calls that would hit what is mapped in the process but not shown in its own list
 * of mappings (a VM's memory, say): each is refused, and the program goes on. Natively there is
 * nothing of the kind.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE = 600, MOST = 4000, PAGE = 4096, TRIED = 40 };

typedef struct Range {
    uint64_t start, end;
} Range;

static Range shown[MOST], all[MOST], hidden[MOST];
static int n_shown, n_all, n_hidden, n_wrong;

static int read_ranges(const char *path, Range *out)
{
    char line[LINE];
    int n = 0;
    FILE *file = fopen(path, "r");
    while (n < MOST && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%lx-%lx", &out[n].start, &out[n].end) == 2)
            n++;
    fclose(file);
    return n;
}

/* Another process sees all: a child reads its parent's list. */
static int read_by_child(Range *out)
{
    char path[LINE];
    int pipe_of[2], n = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", getpid());
    if (pipe(pipe_of) != 0)
        return 0;
    if (fork() == 0) {
        n = read_ranges(path, out);
        ssize_t size = (ssize_t)((size_t)n * sizeof *out);
        _exit(write(pipe_of[1], &n, sizeof n) != sizeof n ||
              write(pipe_of[1], out, (size_t)size) != size);
    }
    if (read(pipe_of[0], &n, sizeof n) != sizeof n)
        return 0;
    for (size_t have = 0; have < (size_t)n * sizeof *out;) {
        ssize_t got = read(pipe_of[0], (char *)out + have, (size_t)n * sizeof *out - have);
        have += got > 0 ? (size_t)got : 0;
    }
    wait(NULL);
    return n;
}

static int is_shown(uint64_t address)
{
    for (int i = 0; i < n_shown; i++)
        if (shown[i].start <= address && address < shown[i].end)
            return 1;
    return 0;
}

/* The kernel's own pages are in both lists. */
static void find_hidden(void)
{
    n_shown = read_ranges("/proc/self/maps", shown);
    n_all = read_by_child(all);
    for (int i = 0; i < n_all; i++)
        if (!is_shown(all[i].start) && all[i].end > all[i].start)
            hidden[n_hidden++] = all[i];
}

static void refused(const char *what, int fails, uint64_t address)
{
    if (fails)
        return;
    printf("%s at %#lx was not refused\n", what, address);
    n_wrong++;
}

/* `at` lies in what is hidden. */
static void hit(uint64_t at, int shared)
{
    void *page = (void *)at;
    void *elsewhere = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const int prot = PROT_READ | PROT_WRITE;
    refused("mmap",
            mmap(page, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED &&
                errno == ENOMEM,
            at);
    refused("munmap", munmap(page, PAGE) != 0, at);
    refused("mprotect", mprotect(page, PAGE, PROT_NONE) != 0, at);
    refused("madvise", madvise(page, PAGE, MADV_DONTNEED) != 0, at);
    refused("mremap from", mremap(page, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED, at);
    refused("mremap to",
            mremap(elsewhere, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page) == MAP_FAILED, at);
    refused("shmat", (long)shmat(shared, page, SHM_REMAP) == -1, at);
    refused("remap_file_pages", remap_file_pages(page, PAGE, 0, 0, 0) != 0, at);
    void *hint = mmap(page, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    refused("a hint", hint != MAP_FAILED && hint != page, at);
    munmap(hint, PAGE);
    munmap(elsewhere, PAGE);
}

/* Ranges that begin before and end behind. */
static void overlap(Range range)
{
    char *before = (char *)range.start - PAGE;
    size_t size = range.end - range.start + 2 * PAGE;
    refused("a larger munmap", munmap(before, size) != 0, range.start);
    refused("a larger mmap",
            mmap(before, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
                 -1, 0) == MAP_FAILED,
            range.start);
}

int main(void)
{
    int shared = shmget(IPC_PRIVATE, PAGE, 0600);
    find_hidden();
    for (int i = 0; i < n_hidden && i < TRIED; i++) {
        hit(hidden[i].start, shared);
        hit(hidden[i].end - PAGE, shared);
        overlap(hidden[i]);
    }
    shmctl(shared, IPC_RMID, NULL);
    printf("%d\n", n_wrong);
    return n_all < 5;
}

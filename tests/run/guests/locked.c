/*
 * locked.c: memory that is locked, now and in future; personalities; calls to the vsyscall page and
 * into the vDSO.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void show(const char *what, int result)
{
    printf("%s: %s\n", what, result == 0 ? "done" : strerrorname_np(errno));
}

/* ---- mlockall ----------------------------------------------------------------------------------
 */

static int resident(void *start, size_t pages)
{
    unsigned char in_core[64];
    int n = 0;
    mincore(start, pages * PAGE, in_core);
    for (size_t i = 0; i < pages; i++)
        n += in_core[i] & 1;
    return n;
}

static void *some(size_t pages)
{
    return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static long locked_kilobytes(void)
{
    char line[256];
    long kilobytes = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file) != NULL)
        sscanf(line, "VmLck: %ld", &kilobytes);
    fclose(file);
    return kilobytes;
}

static void lock_memory(void)
{
    void *before = some(16);
    show("mlockall", mlockall(MCL_CURRENT));
    printf("resident %d, locked %d\n", resident(before, 16),
           locked_kilobytes() > 64 && locked_kilobytes() < 1 << 16);
    show("in future", mlockall(MCL_FUTURE));
    void *after = some(16);
    printf("resident %d\n", resident(after, 16));
    pid_t child = fork();
    if (child == 0)
        _exit(locked_kilobytes() == 0); /* locks are not inherited */
    int status;
    waitpid(child, &status, 0);
    printf("child %d\n", WEXITSTATUS(status));
    show("munlockall", munlockall());
    void *last = some(16);
    printf("resident %d, locked %ld\n", resident(last, 16), locked_kilobytes());
    show("on fault", mlock2(last, 16 * PAGE, MLOCK_ONFAULT));
    printf("resident %d, locked %ld\n", resident(last, 16), locked_kilobytes());
    show("no such flag", mlockall(64));
}

/* What a user without rights may lock. */
static void limited(void)
{
    fflush(stdout);
    if (fork() == 0) {
        struct rlimit limit = { 4096 * PAGE, 4096 * PAGE };
        setrlimit(RLIMIT_MEMLOCK, &limit);
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(1);
        void *mine = some(16);
        show("all, within the limit", mlockall(MCL_CURRENT | MCL_FUTURE));
        printf("resident %d and %d\n", resident(mine, 16), resident(some(16), 16));
        show("munlockall", munlockall());
        limit.rlim_cur = limit.rlim_max = 16 * PAGE;
        setrlimit(RLIMIT_MEMLOCK, &limit);
        show("all, beyond the limit", mlockall(MCL_CURRENT));
        show("within the limit", mlock(some(8), 8 * PAGE));
        show("beyond the limit", mlock(some(32), 32 * PAGE));
        munlockall();
        show("future", mlockall(MCL_FUTURE));
        void *fits = some(4);
        printf("fits %d\n", fits != MAP_FAILED);
        show("too much", some(64) == MAP_FAILED ? -1 : 0);
        for (int i = 0; i < 3000; i++) /* code that is new, and threads of control that end */
            if (snprintf((char[32]){ 0 }, 32, "%d %.3f", i, i * 0.5) < 0)
                break;
        show("munlockall", munlockall());
        fflush(stdout);
        _exit(0);
    }
    int status;
    wait(&status);
    printf("limited: %d\n", status);
}

/* ---- personality -------------------------------------------------------------------------------
 */

static void again(const char *what)
{
    fflush(stdout);
    if (fork() == 0) {
        execl("/proc/self/exe", "locked", what, (char *)NULL);
        _exit(1);
    }
    int status;
    wait(&status);
    printf("%s: %d\n", what, status);
}

static void personalities(void)
{
    struct utsname name;
    unsigned long old = (unsigned long)personality(0xffffffff);
    personality(PER_LINUX32);
    uname(&name);
    printf("machine %s\n", name.machine);
    personality(old | ADDR_NO_RANDOMIZE);
    printf("fixed %d\n", ((unsigned long)personality(0xffffffff) & ADDR_NO_RANDOMIZE) != 0);
    again("where");
    again("where");
    personality(old | READ_IMPLIES_EXEC);
    static const uint8_t code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
    uint8_t *page = some(1);
    memcpy(page, code, sizeof code);
    printf("code in memory for reading: %d\n", ((int (*)(void))page)());
    page[1] = 43;
    printf("changed: %d\n", ((int (*)(void))page)());
    again("run");
    personality(old);
}

/* ---- vsyscall, vDSO -----------------------------------------------------------------------------
 */

static void fixed_entries(void)
{
    struct timeval tv = { 0, 0 };
    unsigned cpu = 99999, node = 99999;
    time_t (*old_time)(time_t *) = (time_t(*)(time_t *))0xffffffffff600400;
    int (*old_gettimeofday)(struct timeval *, void *) = (void *)0xffffffffff600000;
    int (*old_getcpu)(unsigned *, unsigned *, void *) = (void *)0xffffffffff600800;
    time_t now = time(NULL);
    for (int i = 0; i < 100; i++) {
        time_t then = old_time(NULL);
        if (then < now || then > now + 5)
            printf("time %ld, not %ld\n", (long)then, (long)now);
    }
    int result = old_gettimeofday(&tv, NULL);
    printf("gettimeofday %d %d\n", result, tv.tv_sec >= now && tv.tv_sec < now + 5);
    result = old_getcpu(&cpu, &node, NULL);
    printf("getcpu %d %d\n", result, cpu < 1024 && node < 1024);
}

static void *symbol_of(const uint8_t *image, const char *wanted)
{
    const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)image;
    const Elf64_Phdr *phdr = (const Elf64_Phdr *)(image + ehdr->e_phoff);
    const Elf64_Sym *symbols = NULL;
    const char *names = NULL;
    const uint32_t *hash = NULL;
    const Elf64_Dyn *dynamic = NULL;
    for (int i = 0; i < ehdr->e_phnum; i++)
        if (phdr[i].p_type == PT_DYNAMIC)
            dynamic = (const Elf64_Dyn *)(image + phdr[i].p_vaddr);
    for (; dynamic != NULL && dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB)
            symbols = (const Elf64_Sym *)(image + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_STRTAB)
            names = (const char *)image + dynamic->d_un.d_ptr;
    }
    for (int i = 1; symbols != NULL && i < 64 && symbols[i].st_name != 0; i++)
        if (strcmp(names + symbols[i].st_name, wanted) == 0)
            return (void *)(image + symbols[i].st_value);
    return NULL;
}

static void shared_object_of_the_kernel(void)
{
    const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
    struct timespec by_vdso, by_libc;
    if (image == NULL)
        return;
    int (*get)(clockid_t, struct timespec *) = symbol_of(image, "__vdso_clock_gettime");
    if (get == NULL) {
        puts("no clock in the vDSO");
        return;
    }
    int n_back = 0;
    clock_gettime(CLOCK_MONOTONIC, &by_libc);
    for (int i = 0; i < 1000; i++) {
        get(CLOCK_MONOTONIC, &by_vdso);
        n_back += by_vdso.tv_sec < by_libc.tv_sec ||
                  (by_vdso.tv_sec == by_libc.tv_sec && by_vdso.tv_nsec < by_libc.tv_nsec);
        by_libc = by_vdso;
    }
    printf("clock of the vDSO went back %d times\n", n_back);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "where") == 0) {
        printf("%p %d\n", (void *)main,
               ((unsigned long)personality(0xffffffff) & ADDR_NO_RANDOMIZE) != 0);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "run") == 0) {
        printf("implied %d\n", ((unsigned long)personality(0xffffffff) & READ_IMPLIES_EXEC) != 0);
        return 0;
    }
    setvbuf(stdout, NULL, _IOFBF, 4096);
    fixed_entries();
    shared_object_of_the_kernel();
    lock_memory();
    limited();
    personalities();
    return 0;
}

/*
 * What a process reads about itself in /proc: mappings in two forms and under three names, the
 * auxiliary vector, the command line. Prints what does not depend on addresses.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINE = 600, PAGE = 4096, MOST = 100 };

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Files and names of mappings, with their access; how many there are in all. */
static int show(const char *path, int print)
{
    static char shown[MOST][LINE];
    char line[LINE], access[8], name[LINE];
    unsigned long start, end;
    int n = 0;
    int n_shown = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        name[0] = '\0';
        if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %s", &start, &end, access, name) < 3)
            continue;
        n++;
        const char *slash = strrchr(name, '/');
        if (print && n_shown < MOST && name[0] != '\0' && strncmp(name, "[vvar", 5) != 0)
            snprintf(shown[n_shown++], LINE, "%s %s", access, slash != NULL ? slash + 1 : name);
    }
    qsort(shown, (size_t)n_shown, LINE, by_text);
    for (int i = 0; i < n_shown; i++)
        puts(shown[i]);
    if (file != NULL)
        fclose(file);
    return n;
}

/* The mapping that holds `address`, in small reads; its size in pages. */
static long pages_around(const char *path, const void *address)
{
    char text[64 << 10];
    size_t have = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while ((got = read(fd, text + have, 100)) > 0 && have < sizeof text - 200)
        have += (size_t)got;
    text[have] = '\0';
    printf("close on exec %d\n", fcntl(fd, F_GETFD));
    close(fd);
    for (char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n';
        unsigned long start = strtoul(line, &line, 16);
        unsigned long end = strtoul(line + 1, &line, 16);
        if (start <= (unsigned long)address && (unsigned long)address < end)
            return (long)((end - start) / PAGE);
    }
    return -1;
}

int main(int argc, char **argv)
{
    char path[LINE];
    Elf64_auxv_t auxv[64];
    int on_stack;
    int n = show("/proc/self/maps", 1);
    snprintf(path, sizeof path, "/proc/%d/maps", getpid());
    printf("%d %d", show(path, 0) - n, show("/proc/thread-self/maps", 0) - n);
    printf(" %d\n", show("/proc/self/smaps", 0) - n);
    char *alone = mmap(NULL, 7 * PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    printf("shared %ld\n", pages_around("/proc/self/maps", alone));
    printf("stack %d\n", pages_around("/proc/self/maps", &on_stack) > 0);
    printf("missing %d\n", open("/proc/self/mapsx", O_RDONLY));

    int fd = open("/proc/self/auxv", O_RDONLY);
    ssize_t got = read(fd, auxv, sizeof auxv);
    for (ssize_t i = 0; i < got / (ssize_t)sizeof *auxv && auxv[i].a_type != AT_NULL; i++)
        if (auxv[i].a_type != AT_HWCAP && auxv[i].a_un.a_val != getauxval(auxv[i].a_type))
            printf("auxv %lu differs\n", auxv[i].a_type);
    close(fd);

    fd = open("/proc/self/cmdline", O_RDONLY);
    got = read(fd, path, sizeof path);
    printf("command %d\n", memcmp(path, argv[0], strlen(argv[0]) + 1));
    return argc;
}

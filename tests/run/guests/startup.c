/* startup.c: what a program sees when it begins. SPDX-License-Identifier: MIT */
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
    char exe[4096], comm[16];
    for (int i = 0; i < argc; i++)
        printf("argv[%d]=%s\n", i, argv[i]);
    for (char **at = environ; *at != NULL; at++)
        if (strncmp(*at, "TEST_", 5) == 0)
            printf("env %s\n", *at);
    const Elf64_Phdr *phdr = (const Elf64_Phdr *)getauxval(AT_PHDR);
    printf("phnum %lu phent %lu first %u\n", getauxval(AT_PHNUM), getauxval(AT_PHENT),
           phdr[0].p_type);
    printf("entry set %d base set %d random set %d\n", getauxval(AT_ENTRY) != 0,
           getauxval(AT_BASE) != 0, getauxval(AT_RANDOM) != 0);
    printf("execfn %s platform %s\n", (const char *)getauxval(AT_EXECFN),
           (const char *)getauxval(AT_PLATFORM));
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[len > 0 ? len : 0] = '\0';
    printf("exe %s\n", strrchr(exe, '/'));
    char own[64];
    snprintf(own, sizeof own, "/proc/%d/exe", getpid());
    len = readlink(own, exe, 3);
    printf("short link %zd %.3s\n", len, exe);
    FILE *file = fopen("/proc/self/exe", "r");
    char magic[4] = "";
    printf("read %zu\n", fread(magic, 1, 4, file));
    fclose(file);
    char line[256] = "";
    file = fopen("/proc/self/cmdline", "r");
    size_t got = fread(line, 1, sizeof line, file);
    fclose(file);
    printf("cmdline %zu bytes, %s\n", got, line + strlen(line) + 1);
    Elf64_auxv_t aux[64];
    file = fopen("/proc/self/auxv", "r");
    size_t n_aux = fread(aux, sizeof aux[0], 64, file);
    fclose(file);
    for (size_t i = 0; i < n_aux; i++)
        if (aux[i].a_type == AT_PHDR)
            printf("auxv right %d\n", aux[i].a_un.a_val == getauxval(AT_PHDR));
    prctl(PR_GET_NAME, comm);
    printf("comm %s aligned %d\n", comm, (int)((uintptr_t)__builtin_frame_address(0) & 15));
    return 7;
}

/*
 * sanitizers.c: what the sanitized build's runtime is told. respin's last stage runs in the process
 * of the guest: with its limits, which are its own to set, and its filter of system calls, under
 * which a search for leaks (it traces itself) waits for ever.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/prctl.h>

/* The names are the runtime's. */
const char *__asan_default_options(void); // NOLINT(readability-identifier-naming)
int __lsan_is_turned_off(void);           // NOLINT(readability-identifier-naming)

const char *__asan_default_options(void)
{
    return "disable_coredump=0";
}

int __lsan_is_turned_off(void)
{
    return prctl(PR_GET_SECCOMP) != 0;
}

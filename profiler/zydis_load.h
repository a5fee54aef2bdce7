/*
 * zydis_load.h: maps the decoder library into the VM without a dynamic linker.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_ZYDIS_LOAD_H
#define RESPIN_PROFILER_ZYDIS_LOAD_H

#include <stdbool.h>
#include <stdint.h>

typedef struct LoadedLibrary {
    uint64_t bias;
    uint64_t symbols; /* run-time addresses of .dynsym and .dynstr */
    uint64_t strings;
    uint32_t n_symbols;
} LoadedLibrary;

/*
 * Maps the x86-64 shared object at `path` and relocates it. It may need memcpy, memset, strlen,
 * __assert_fail and __stack_chk_fail; those are ours. False: *why says what is wrong with it.
 */
bool library_load(const char *path, LoadedLibrary *library, const char **why);
/* The address of a defined symbol; NULL: none. */
void *library_symbol(const LoadedLibrary *library, const char *name);

#endif

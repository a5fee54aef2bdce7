/*
 * Puts an ELF program into memory as the kernel's execve would.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_LOAD_H
#define RESPIN_PROFILER_LOAD_H

#include "profiler/vm.h"

#include <elf.h>

enum {
    LOAD_PATH_MAX = 4096,
    LOAD_HEADERS_MAX =
        64, /* program headers; the kernel takes 64 KiB of them, no linker makes so many */
};

/* The head of an ELF file, checked so far that it can be loaded. */
typedef struct ElfHead {
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr[LOAD_HEADERS_MAX];
    char interpreter[LOAD_PATH_MAX]; /* "": none */
    uint64_t low, high;              /* of all PT_LOADs, page-rounded, before the bias */
    uint64_t align;                  /* largest p_align of the PT_LOADs, at least a page */
    bool stack_executable;
} ElfHead;

/* Why a file cannot be loaded; NULL from elf_read_head means that it can. */
const char *elf_read_head(long fd, ElfHead *head);

/* Where a program landed: what its auxiliary vector must say. */
typedef struct Loaded {
    uint64_t entry;       /* of the program: AT_ENTRY */
    uint64_t start_pc;    /* where execution begins: the interpreter's entry, if there is one */
    uint64_t phdr;        /* AT_PHDR */
    uint64_t n_phdr;      /* AT_PHNUM */
    uint64_t interp_base; /* AT_BASE; 0: no interpreter */
    uint64_t image_start;
    uint64_t code_start, code_end, data_start, data_end; /* as the kernel reckons them */
    uint64_t image_end; /* page-rounded end of the program's image: where brk begins */
    bool stack_executable;
} Loaded;

/* Dies with a message when it cannot: the guest has not begun, and execve checks first. */
void load_program(const char *path, bool randomize, Loaded *out);

#endif

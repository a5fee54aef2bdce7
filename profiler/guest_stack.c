/*
 * guest_stack.c: what execve put on the stack, as the guest must see it.
 *
 *   sp ─► argc | vm options ... | program | argv... NULL | envp... NULL | auxv | strings
 *                                    ▲
 *                    guest's argc goes here, just below its argv[0]
 *
 * The block stays where it is: pointers into it (environment, AT_RANDOM, AT_PLATFORM) stay true,
 * and the stack's mapping is the kernel's, with its growth and its limit. Only if the new argc
 * would not be aligned to 16 bytes does the block move down by one word (psABI 3.4.1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/guest_stack.h"
#include "profiler/memory.h"
#include "profiler/text.h"

#include <asm/unistd.h>
#include <linux/mman.h>

static void fix_entry(Elf64_auxv_t *entry, const Start *start, const Loaded *loaded)
{
    switch (entry->a_type) {
    case AT_PHDR:
        entry->a_un.a_val = loaded->phdr;
        break;
    case AT_PHENT:
        entry->a_un.a_val = sizeof(Elf64_Phdr);
        break;
    case AT_PHNUM:
        entry->a_un.a_val = loaded->n_phdr;
        break;
    case AT_BASE:
        entry->a_un.a_val = loaded->interp_base;
        break;
    case AT_ENTRY:
        entry->a_un.a_val = loaded->entry;
        break;
    case AT_EXECFN:
        entry->a_un.a_val = (uint64_t)start->name;
        break;
    default:
        break;
    }
}

uint64_t guest_stack_build(uint64_t *sp, const Start *start, const Loaded *loaded)
{
    uint64_t n_args = sp[0] - start->first;
    uint64_t *argc = sp + start->first;
    uint64_t *at = argc + 1 + n_args + 1;
    while (*at++ != 0)
        ; /* the environment */
    Elf64_auxv_t *entry = (Elf64_auxv_t *)(void *)at;
    for (; entry->a_type != AT_NULL; entry++)
        fix_entry(entry, start, loaded);
    *argc = n_args;
    if (((uint64_t)argc & 15) != 0) {
        size_t bytes = (size_t)((uint8_t *)(entry + 1) - (uint8_t *)argc);
        argc = memmove(argc - 1, argc, bytes);
    }
    if (loaded->stack_executable)
        raw_syscall(__NR_mprotect, (long)page_down((uint64_t)argc), VM_PAGE,
                    PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN, 0, 0, 0);
    return (uint64_t)argc;
}

/*
 * proc_view.c: /proc/self/cmdline, environ, auxv and stat, and brk, as if the kernel had started
 * the guest itself.
 *
 * prctl PR_SET_MM_MAP sets all of it at once, for any process about itself, where the kernel has
 * checkpoint support (Debian's has). So `ps` and `pgrep -f` show the guest, and brk needs no
 * emulation. Where it is refused, the process shows respin-vm's command line, and brk is emulated.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/proc_view.h"
#include "profiler/text.h"

#include <asm/unistd.h>
#include <linux/prctl.h>

static uint64_t string_end(uint64_t string)
{
    return string + strlen((const char *)string) + 1;
}

bool proc_view_set(const uint64_t *stack, const Loaded *loaded, uint64_t heap)
{
    const uint64_t *argv = stack + 1;
    const uint64_t *envp = argv + stack[0] + 1;
    uint64_t n_env = 0;
    while (envp[n_env] != 0)
        n_env++;
    const Elf64_auxv_t *auxv = (const Elf64_auxv_t *)(const void *)(envp + n_env + 1);
    uint32_t n_auxv = 1;
    for (const Elf64_auxv_t *entry = auxv; entry->a_type != AT_NULL; entry++)
        n_auxv++;
    uint64_t arg_end = string_end(argv[stack[0] - 1]);
    struct prctl_mm_map map = {
        .start_code = loaded->code_start,
        .end_code = loaded->code_end,
        .start_data = loaded->data_start,
        .end_data = loaded->data_end,
        .start_brk = heap,
        .brk = heap,
        .start_stack = (uint64_t)stack,
        .arg_start = argv[0],
        .arg_end = arg_end,
        .env_start = n_env != 0 ? envp[0] : arg_end,
        .env_end = n_env != 0 ? string_end(envp[n_env - 1]) : arg_end,
        .auxv = (void *)(uintptr_t)auxv,
        .auxv_size = n_auxv * (uint32_t)sizeof *auxv,
        .exe_fd = (uint32_t)-1,
    };
    return raw_syscall(__NR_prctl, PR_SET_MM, PR_SET_MM_MAP, (long)&map, sizeof map, 0, 0) == 0;
}

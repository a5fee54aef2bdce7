/*
 * filter.c: the guest's filter is run here on the system calls that the VM makes, before the kernel
 * gets it.
 *
 * Filters are programs of classic BPF over a struct of six arguments, a number and an address. Most
 * forbid a few calls (mount, ptrace, …) and let the VM live; one that names the few calls it allows
 * does not, and the guest leaves the VM first (detach.c). What a filter compares is numbers and
 * flags: the calls are tried with those that the VM uses.
 *
 * linux/Documentation/userspace-api/seccomp_filter.rst; linux/filter.h for the instructions.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/filter.h"
#include "profiler/memory.h"
#include "profiler/vm.h"

#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/mman.h>
#include <linux/seccomp.h>

enum { RDONLY = O_RDONLY | O_CLOEXEC, RDWR = O_RDWR | O_CLOEXEC, NEW = RDWR | O_CREAT | O_EXCL };
enum { FIXED = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, SHARED = MAP_SHARED | MAP_FIXED };
enum { RW = PROT_READ | PROT_WRITE, RX = PROT_READ | PROT_EXEC, RWX = RW | PROT_EXEC };

typedef struct OwnCall {
    int nr;
    uint64_t arg[4];
} OwnCall;

/* clang-format off */
static const OwnCall own_calls[] = {
    { __NR_mmap, { 0, VM_PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS } },
    { __NR_mmap, { 0, VM_PAGE, RW, FIXED } },
    { __NR_mmap, { 0, VM_PAGE, RW, SHARED } },
    { __NR_mmap, { 0, VM_PAGE, RWX, FIXED } },
    { __NR_mprotect, { 0, VM_PAGE, RW } },
    { __NR_mprotect, { 0, VM_PAGE, RX } },
    { __NR_mprotect, { 0, VM_PAGE, RWX } },
    { __NR_munmap, { 0 } },               { __NR_madvise, { 0 } },
    { __NR_openat, { (uint64_t)AT_FDCWD, 0, RDONLY } },
    { __NR_openat, { (uint64_t)AT_FDCWD, 0, RDWR } },
    { __NR_openat, { (uint64_t)AT_FDCWD, 0, NEW, 0644 } },
    { __NR_openat, { (uint64_t)AT_FDCWD, 0, O_PATH | O_CLOEXEC } },
    { __NR_open, { 0, RDONLY } },         { __NR_close, { 0 } },
    { __NR_read, { 0 } },                 { __NR_write, { 2 } },
    { __NR_pread64, { 0 } },              { __NR_pwrite64, { 0 } },
    { __NR_fstat, { 0 } },                { __NR_stat, { 0 } },
    { __NR_readlink, { 0 } },             { __NR_rename, { 0 } },
    { __NR_fallocate, { 0 } },            { __NR_lseek, { 0 } },
    { __NR_fcntl, { 0 } },                { __NR_dup3, { 0 } },
    { __NR_memfd_create, { 0 } },         { __NR_faccessat2, { (uint64_t)AT_FDCWD } },
    { __NR_fgetxattr, { 0 } },            { __NR_prlimit64, { 0 } },
    { __NR_rt_sigprocmask, { 2 } },       { __NR_rt_sigaction, { 1 } },
    { __NR_rt_sigreturn, { 0 } },         { __NR_sigaltstack, { 0 } },
    { __NR_rt_sigtimedwait, { 0 } },      { __NR_rt_tgsigqueueinfo, { 0 } },
    { __NR_tgkill, { 0 } },               { __NR_getpid, { 0 } },
    { __NR_gettid, { 0 } },               { __NR_futex, { 0 } },
    { __NR_sched_yield, { 0 } },          { __NR_arch_prctl, { 0x1001 } },
    { __NR_setitimer, { 0 } },            { __NR_execve, { 0 } },
    { __NR_exit, { 0 } },                 { __NR_exit_group, { 0 } },
};
/* clang-format on */

/* The machine of classic BPF. */
typedef struct Bpf {
    const struct seccomp_data *data;
    uint32_t a;
    uint32_t x;
    uint32_t memory[BPF_MEMWORDS];
} Bpf;

static bool load(const Bpf *bpf, const struct sock_filter *insn, uint32_t *out)
{
    switch (BPF_MODE(insn->code)) {
    case BPF_IMM:
        *out = insn->k;
        return true;
    case BPF_ABS:
        if (insn->k % sizeof *out != 0 || insn->k >= sizeof *bpf->data)
            return false;
        *out = ((const uint32_t *)(const void *)bpf->data)[insn->k / sizeof *out];
        return true;
    case BPF_MEM:
        if (insn->k >= BPF_MEMWORDS)
            return false;
        *out = bpf->memory[insn->k];
        return true;
    case BPF_LEN:
        *out = sizeof *bpf->data;
        return true;
    default:
        return false;
    }
}

static bool compute(Bpf *bpf, const struct sock_filter *insn)
{
    uint32_t by = BPF_SRC(insn->code) == BPF_X ? bpf->x : insn->k;
    switch (BPF_OP(insn->code)) {
    case BPF_ADD:
        bpf->a += by;
        return true;
    case BPF_SUB:
        bpf->a -= by;
        return true;
    case BPF_MUL:
        bpf->a *= by;
        return true;
    case BPF_DIV:
        bpf->a = by != 0 ? bpf->a / by : 0;
        return by != 0;
    case BPF_OR:
        bpf->a |= by;
        return true;
    case BPF_AND:
        bpf->a &= by;
        return true;
    case BPF_XOR:
        bpf->a ^= by;
        return true;
    case BPF_LSH:
        bpf->a = by < 32 ? bpf->a << by : 0;
        return true;
    case BPF_RSH:
        bpf->a = by < 32 ? bpf->a >> by : 0;
        return true;
    case BPF_NEG:
        bpf->a = -bpf->a;
        return true;
    default:
        return false;
    }
}

/* How far to go on behind the jump; -1: no such jump. */
static int64_t jump(const Bpf *bpf, const struct sock_filter *insn)
{
    uint32_t with = BPF_SRC(insn->code) == BPF_X ? bpf->x : insn->k;
    switch (BPF_OP(insn->code)) {
    case BPF_JA:
        return insn->k;
    case BPF_JEQ:
        return bpf->a == with ? insn->jt : insn->jf;
    case BPF_JGT:
        return bpf->a > with ? insn->jt : insn->jf;
    case BPF_JGE:
        return bpf->a >= with ? insn->jt : insn->jf;
    case BPF_JSET:
        return (bpf->a & with) != 0 ? insn->jt : insn->jf;
    default:
        return -1;
    }
}

/* What is neither a jump nor a return. */
static bool step(Bpf *bpf, const struct sock_filter *insn)
{
    switch (BPF_CLASS(insn->code)) {
    case BPF_LD:
        return load(bpf, insn, &bpf->a);
    case BPF_LDX:
        return load(bpf, insn, &bpf->x);
    case BPF_ST:
    case BPF_STX:
        if (insn->k >= BPF_MEMWORDS)
            return false;
        bpf->memory[insn->k] = BPF_CLASS(insn->code) == BPF_ST ? bpf->a : bpf->x;
        return true;
    case BPF_ALU:
        return compute(bpf, insn);
    case BPF_MISC:
        if (BPF_MISCOP(insn->code) == BPF_TAX)
            bpf->x = bpf->a;
        else
            bpf->a = bpf->x;
        return true;
    default:
        return false;
    }
}

static bool allows(const struct sock_filter *insns, uint32_t n, const OwnCall *call)
{
    struct seccomp_data data = { .nr = call->nr, .arch = AUDIT_ARCH_X86_64 };
    Bpf bpf = { .data = &data };
    for (size_t i = 0; i < sizeof call->arg / sizeof call->arg[0]; i++)
        data.args[i] = call->arg[i];
    for (uint64_t at = 0; at < n; at++) { /* jumps go forward only, so it ends */
        const struct sock_filter *insn = &insns[at];
        if (BPF_CLASS(insn->code) == BPF_RET) {
            uint32_t action = BPF_RVAL(insn->code) == BPF_A ? bpf.a : insn->k;
            action &= SECCOMP_RET_ACTION_FULL;
            return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
        }
        if (BPF_CLASS(insn->code) == BPF_JMP) {
            int64_t distance = jump(&bpf, insn);
            if (distance < 0)
                return false;
            at += (uint64_t)distance;
        } else if (!step(&bpf, insn)) {
            return false;
        }
    }
    return false;
}

bool filter_lets_vm_live(uint64_t program)
{
    struct sock_fprog head;
    if (!guest_read(&head, program, sizeof head) || head.len == 0 || head.len > BPF_MAXINSNS)
        return false;
    size_t size = head.len * sizeof(struct sock_filter);
    struct sock_filter *insns = memory_scratch(size);
    bool all = insns != NULL && guest_read(insns, (uint64_t)head.filter, size);
    for (size_t i = 0; all && i < sizeof own_calls / sizeof own_calls[0]; i++)
        all = allows(insns, head.len, &own_calls[i]);
    memory_scratch_free(insns, size);
    return all;
}

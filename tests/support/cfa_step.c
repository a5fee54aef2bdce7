/*
 * cfa_step PROGRAM [argument...]: runs a program one instruction at a time and holds its unwind
 * rows against the calls and returns that it is seen to make.
 *
 *     call     the callee's frame address is the stack pointer before the call
 *     ret      back to the caller's
 *     each instruction: row's CFA = the frame address; row's return address = the pushed one
 *
 * So the rows are judged by what the CPU does, not by the tables that they were made from. Only
 * code of the program itself is looked at (its libraries' code is stepped through). A jump out of
 * several frames (longjmp, an exception) drops the frames below the stack pointer. Rows of a frame
 * whose call was not seen are not judged. Prints how many instructions were judged, and how many of
 * them lie in the section .respin.text of an output.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/unwind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_FRAMES = 4096, MAX_WRONG = 10 };

typedef struct Frame {
    uint64_t cfa;
    uint64_t return_to;
} Frame;

typedef struct Stepper {
    Arena *arena;
    Arena *scratch;
    const Image *image;
    const UnwindTable *table;
    pid_t pid;
    uint64_t bias;
    Frame frames[MAX_FRAMES];
    uint32_t depth;
    const Fde *fde; /* whose rows are at hand */
    UnwindRows rows;
    uint64_t original_end; /* code from here on is the overlay's */
    uint64_t judged;
    uint64_t judged_new;
    uint32_t wrong;
} Stepper;

static bool peek(const Stepper *stepper, uint64_t addr, void *out, size_t size)
{
    struct iovec here = { out, size };
    struct iovec there = { (void *)(uintptr_t)addr, size };
    return process_vm_readv(stepper->pid, &here, 1, &there, 1, 0) == (ssize_t)size;
}

/* DWARF register number → value. psABI figure 3.36. */
static uint64_t reg_value(const struct user_regs_struct *regs, unsigned number)
{
    const uint64_t values[UNWIND_REGS] = { regs->rax, regs->rdx, regs->rcx, regs->rbx, regs->rsi,
                                           regs->rdi, regs->rbp, regs->rsp, regs->r8,  regs->r9,
                                           regs->r10, regs->r11, regs->r12, regs->r13, regs->r14,
                                           regs->r15, regs->rip };
    return values[number];
}

/* The expressions that compilers write for a CFA: breg offset, and then deref or not. */
static bool cfa_of(const Stepper *stepper, const UnwindRow *row,
                   const struct user_regs_struct *regs, uint64_t *out)
{
    if (row->cfa.kind == RULE_CFA_REG) {
        *out = reg_value(regs, row->cfa.reg) + (uint64_t)row->cfa.value;
        return true;
    }
    Cursor cursor = cursor_at(row->cfa.expr, 0);
    unsigned op = cursor_u8(&cursor);
    if (op < 0x70 || op >= 0x70 + UNWIND_REGS)
        return false;
    *out = reg_value(regs, op - 0x70) + (uint64_t)cursor_sleb(&cursor);
    if (cursor.at < cursor.bytes.len && cursor_u8(&cursor) == 0x06)
        return peek(stepper, *out, out, sizeof(*out)) && cursor.at == cursor.bytes.len;
    return !cursor.bad && cursor.at == cursor.bytes.len;
}

static void complain(Stepper *stepper, Vaddr at, const char *what, uint64_t found, uint64_t want)
{
    stepper->wrong++;
    printf("0x%" PRIx64 ": %s 0x%" PRIx64 ", by the calls made it is 0x%" PRIx64 "\n", at.v, what,
           found, want);
}

static void judge(Stepper *stepper, Vaddr at, const struct user_regs_struct *regs)
{
    Error err;
    const Fde *fde = unwind_fde_at(stepper->table, at);
    if (fde == NULL || stepper->depth == 0)
        return;
    if (fde != stepper->fde) {
        arena_reset(stepper->scratch);
        stepper->fde = fde;
        if (unwind_rows(stepper->scratch, stepper->image, stepper->table, fde, &stepper->rows,
                        &err) != ST_OK) {
            complain(stepper, at, err.text, 0, 0);
            return;
        }
    }
    const UnwindRow *row = &stepper->rows.rows[unwind_row_at(&stepper->rows, at)];
    const Frame *frame = &stepper->frames[stepper->depth - 1];
    uint64_t cfa;
    uint64_t saved = 0;
    const UnwindRule *ra = &row->regs[16];
    if (!cfa_of(stepper, row, regs, &cfa))
        return;
    stepper->judged++;
    stepper->judged_new += at.v >= stepper->original_end;
    if (cfa != frame->cfa)
        complain(stepper, at, "CFA", cfa, frame->cfa);
    else if (ra->kind == RULE_OFFSET &&
             (!peek(stepper, cfa + (uint64_t)ra->value, &saved, 8) || saved != frame->return_to))
        complain(stepper, at, "return address", saved, frame->return_to);
}

/* What one instruction did to the frames. A call is what moves the stack pointer by eight and
 * leaves the place behind itself on top of the stack. */
static void follow(Stepper *stepper, const struct user_regs_struct *before,
                   const struct user_regs_struct *after)
{
    uint64_t pushed = 0;
    if (after->rsp == before->rsp - 8 && stepper->depth < MAX_FRAMES &&
        peek(stepper, after->rsp, &pushed, 8) && pushed - before->rip - 1 < 15)
        stepper->frames[stepper->depth++] = (Frame){ before->rsp, pushed };
    while (stepper->depth > 0 && stepper->frames[stepper->depth - 1].cfa <= after->rsp)
        stepper->depth--;
}

/* Load bias: where AT_ENTRY is, minus where the file says. */
static bool find_bias(Stepper *stepper)
{
    char path[64];
    uint64_t pair[2];
    snprintf(path, sizeof(path), "/proc/%d/auxv", (int)stepper->pid);
    FILE *file = fopen(path, "rb");
    while (file != NULL && fread(pair, sizeof(pair), 1, file) == 1)
        if (pair[0] == 9) { /* AT_ENTRY */
            stepper->bias = pair[1] - stepper->image->header.e_entry;
            fclose(file);
            return true;
        }
    if (file != NULL)
        fclose(file);
    return false;
}

/* Lets the dynamic linker run at full speed: stops at the program's entry point. */
static bool run_to_entry(const Stepper *stepper)
{
    struct user_regs_struct regs;
    int status;
    uint64_t entry = stepper->image->header.e_entry + stepper->bias;
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, stepper->pid, (void *)entry, NULL);
    if (errno != 0)
        return false;
    ptrace(PTRACE_POKETEXT, stepper->pid, (void *)entry, (void *)((word & ~0xffL) | 0xcc));
    ptrace(PTRACE_CONT, stepper->pid, NULL, NULL);
    if (waitpid(stepper->pid, &status, 0) < 0 || !WIFSTOPPED(status))
        return false;
    ptrace(PTRACE_POKETEXT, stepper->pid, (void *)entry, (void *)word);
    ptrace(PTRACE_GETREGS, stepper->pid, NULL, &regs);
    regs.rip = entry;
    return ptrace(PTRACE_SETREGS, stepper->pid, NULL, &regs) == 0;
}

static int step_all(Stepper *stepper)
{
    struct user_regs_struct before;
    struct user_regs_struct after;
    int status;
    ptrace(PTRACE_GETREGS, stepper->pid, NULL, &before);
    while (stepper->wrong < MAX_WRONG) {
        int signal = 0;
        if (ptrace(PTRACE_SINGLESTEP, stepper->pid, NULL, NULL) != 0 ||
            waitpid(stepper->pid, &status, 0) < 0)
            return 3;
        if (WIFEXITED(status))
            return 0;
        if (WIFSIGNALED(status))
            return 3;
        signal = WSTOPSIG(status);
        if (signal != SIGTRAP) {
            printf("signal %d: frames of handlers are not followed\n", signal);
            return 3;
        }
        ptrace(PTRACE_GETREGS, stepper->pid, NULL, &after);
        follow(stepper, &before, &after);
        judge(stepper, vaddr(after.rip - stepper->bias), &after);
        before = after;
    }
    ptrace(PTRACE_KILL, stepper->pid, NULL, NULL);
    return 1;
}

static int run(Stepper *stepper, char **argv)
{
    int status;
    stepper->pid = fork();
    if (stepper->pid == 0) {
        setenv("LD_BIND_NOW", "1", 1); /* no resolver between a call and its callee */
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        execv(argv[0], argv);
        _exit(127);
    }
    if (stepper->pid < 0 || waitpid(stepper->pid, &status, 0) < 0 || !WIFSTOPPED(status) ||
        !find_bias(stepper) || !run_to_entry(stepper))
        return 3;
    const Section *text = image_section(stepper->image, ".respin.text");
    stepper->original_end = text != NULL ? text->addr.v : UINT64_MAX;
    int result = step_all(stepper);
    printf("%" PRIu64 " instructions judged, %" PRIu64 " of the overlay, %u wrong\n",
           stepper->judged, stepper->judged_new, stepper->wrong);
    return result;
}

int main(int argc, char **argv)
{
    Error err;
    Stepper *stepper = calloc(1, sizeof(*stepper));
    if (argc < 2 || stepper == NULL)
        return 2;
    stepper->arena = arena_new();
    stepper->scratch = arena_new();
    if (image_open(stepper->arena, argv[1], &stepper->image, &err) != ST_OK ||
        unwind_read(stepper->arena, stepper->image, &stepper->table, &err) != ST_OK) {
        printf("%s: %s\n", argv[1], err.text);
        return 3;
    }
    int result = run(stepper, argv + 1);
    arena_free(stepper->scratch);
    arena_free(stepper->arena);
    free(stepper);
    return result;
}

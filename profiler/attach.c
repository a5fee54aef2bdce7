/*
 * attach.c: the VM core in a process.
 *
 *   0x7ee000000000   image of respin-vm | BurstPort | stack     one anonymous mapping, written from
 * here 0x7e8000000000   its region                                 reserved by the core itself
 *
 * The image is the one that `respin profile` executes. It is entered at its ELF entry with a stack
 * as the kernel makes one, so burst mode is an option on its command line (options.h) and nothing
 * else. Nothing of it needs a file that the process could open but the Zydis library and the
 * profile.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/attach.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    STACK_BYTES = 512 << 10,
    MASK_BYTES = 8,
    SIGNAL_FIRST = 62, /* tried downwards: libraries take real-time signals from the low end */
    SIGNAL_LAST = 36,
    WORDS_MAX = 24,
    COMMAND_MAX = 4096,
    SECCOMP_NONE = 0,
};
#define IMAGE_HINT UINT64_C(0x7ee000000000) /* among the VM's addresses: memory.c */

static uint64_t page_up(uint64_t value)
{
    return (value + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

/* ---- the image ---------------------------------------------------------------------------- */

typedef struct CoreFile {
    const uint8_t *bytes;
    size_t size;
    const Elf64_Phdr *headers;
    uint16_t n_headers;
    uint64_t entry;
    uint64_t span; /* bytes of memory, whole pages */
} CoreFile;

static Place at_file(const char *path)
{
    return (Place){ path, NULL, PLACE_NO_OFFSET };
}

static Status file_open(const char *path, CoreFile *out, Error *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0)
        return FAIL(err, ST_IO, at_file(path), "cannot be opened: %s", strerror(errno));
    void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (bytes == MAP_FAILED)
        return FAIL(err, ST_IO, at_file(path), "cannot be mapped: %s", strerror(errno));
    const Elf64_Ehdr *header = bytes;
    *out = (CoreFile){ .bytes = bytes, .size = (size_t)info.st_size };
    if (out->size < sizeof *header ||
        header->e_phoff + (uint64_t)header->e_phnum * sizeof(Elf64_Phdr) > out->size)
        return FAIL(err, ST_BAD_INPUT, at_file(path), "is no respin-vm");
    out->headers = (const Elf64_Phdr *)(const void *)(out->bytes + header->e_phoff);
    out->n_headers = header->e_phnum;
    out->entry = header->e_entry;
    for (uint16_t i = 0; i < out->n_headers; i++) {
        const Elf64_Phdr *segment = &out->headers[i];
        if (segment->p_type != PT_LOAD)
            continue;
        if (segment->p_offset + segment->p_filesz > out->size)
            return FAIL(err, ST_BAD_INPUT, at_file(path), "is cut short");
        uint64_t end = page_up(segment->p_vaddr + segment->p_memsz);
        out->span = end > out->span ? end : out->span;
    }
    return ST_OK;
}

static void file_close(const CoreFile *file)
{
    munmap((void *)(uintptr_t)file->bytes, file->size);
}

typedef struct RemoteCall {
    long number;
    uint64_t a, b, c, d;
    const char *what; /* for the message */
} RemoteCall;

static Status call(Remote *remote, RemoteCall asked, uint64_t *out, Error *err)
{
    const uint64_t arg[6] = { asked.a, asked.b, asked.c, asked.d, (uint64_t)-1, 0 };
    int64_t result;
    TRY(remote_call(remote, asked.number, arg, &result, err));
    if (result < 0 && result > -PAGE)
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d: %s: %s", remote->pid, asked.what,
                    strerror((int)-result));
    if (out != NULL)
        *out = (uint64_t)result;
    return ST_OK;
}

static Status unmap_range(Remote *remote, uint64_t start, uint64_t end, Error *err)
{
    return call(remote, (RemoteCall){ SYS_munmap, start, end - start, 0, 0, "munmap" }, NULL, err);
}

/* The signal's action: set from `set`, and written to `get`; 0: not. */
static Status change_action(Remote *remote, uint32_t signal, uint64_t set, uint64_t get, Error *err)
{
    return call(remote, (RemoteCall){ SYS_rt_sigaction, signal, set, get, MASK_BYTES, "sigaction" },
                NULL, err);
}

static Status map_image(Remote *remote, const CoreFile *file, Core *core, Error *err)
{
    uint64_t size = file->span + page_up(sizeof(BurstPort)) + STACK_BYTES;
    TRY(call(remote,
             (RemoteCall){ SYS_mmap, IMAGE_HINT, size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, "no memory for the VM core" },
             &core->image_start, err));
    core->image_end = core->image_start + size;
    core->port = core->image_start + file->span;
    for (uint16_t i = 0; i < file->n_headers; i++) {
        const Elf64_Phdr *segment = &file->headers[i];
        uint64_t start = core->image_start + segment->p_vaddr;
        if (segment->p_type != PT_LOAD)
            continue;
        if (segment->p_filesz != 0 &&
            !process_write(remote->pid, start, file->bytes + segment->p_offset, segment->p_filesz))
            return FAIL(err, ST_REFUSED, NOWHERE, "process %d: its memory cannot be written: %s",
                        remote->pid, strerror(errno));
        if ((segment->p_flags & PF_X) != 0)
            TRY(call(remote,
                     (RemoteCall){ SYS_mprotect, start & ~(uint64_t)(PAGE - 1),
                                   page_up(segment->p_vaddr + segment->p_memsz) -
                                       (segment->p_vaddr & ~(uint64_t)(PAGE - 1)),
                                   PROT_READ | PROT_EXEC, 0, "code of the VM core" },
                     NULL, err));
    }
    return ST_OK;
}

/* ---- its first stack ---------------------------------------------------------------------- */

/* Words of a command line, and where they will lie: texts grow down from `top`. */
typedef struct FirstStack {
    Remote *remote;
    uint64_t top;
    uint64_t word[WORDS_MAX];
    size_t n;
} FirstStack;

static void push_word(FirstStack *stack, const char *text)
{
    size_t size = strlen(text) + 1;
    stack->top -= size;
    process_write(stack->remote->pid, stack->top, text, size);
    stack->word[stack->n++] = stack->top;
}

/* The words that the process was started with, joined. */
static const char *command_of(Remote *remote)
{
    char path[64];
    char *text = arena_alloc(remote->arena, COMMAND_MAX);
    snprintf(path, sizeof path, "/proc/%d/cmdline", remote->pid);
    FILE *file = fopen(path, "re");
    size_t n = file != NULL ? fread(text, 1, COMMAND_MAX - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    while (n > 0 && text[n - 1] == '\0')
        n--;
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    return text;
}

static uint64_t build_stack(Remote *remote, const CoreOptions *options, bool is_child,
                            const Core *core)
{
    Arena *arena = remote->arena;
    const char *command = command_of(remote);
    FirstStack stack = { .remote = remote, .top = core->image_end };
    push_word(&stack, "respin-vm");
    push_word(&stack, arena_printf(arena, "--vm=%s", options->vm));
    push_word(&stack, arena_printf(arena, "--zydis=%s", options->zydis));
    push_word(&stack, arena_printf(arena, "--out=%s", options->out));
    push_word(&stack, arena_printf(arena, "--run=%" PRIx64, options->run));
    push_word(&stack, arena_printf(arena, "--burst=%" PRIx64, core->port));
    if (is_child)
        push_word(&stack, "--child");
    push_word(&stack, "--");
    push_word(&stack, command);
    push_word(&stack, command);
    uint64_t image[WORDS_MAX + 6] = { stack.n };
    memcpy(image + 1, stack.word, stack.n * sizeof *image);
    size_t size = (stack.n + 6) * sizeof *image; /* two ends of lists and an empty auxv follow */
    uint64_t sp = (stack.top - size) & ~UINT64_C(15);
    process_write(remote->pid, sp, image, size);
    return sp;
}

/* ---- loading ------------------------------------------------------------------------------ */

/* A real-time signal that the process neither handles, ignores nor blocks. Where it handles all of
 * them (as Go does, which then ignores them), the first. */
static uint32_t choose_signal(const Remote *remote)
{
    uint64_t used = process_mask(remote->pid, remote->pid, "SigIgn:");
    uint64_t caught = process_mask(remote->pid, remote->pid, "SigCgt:");
    for (size_t i = 0; i < remote->n_threads; i++)
        used |= process_mask(remote->pid, remote->threads[i], "SigBlk:");
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t signal = SIGNAL_FIRST; signal >= SIGNAL_LAST; signal--)
            if (((used | (pass == 0 ? caught : 0)) >> (signal - 1) & 1) == 0)
                return signal;
    }
    return 0;
}

static Status check_process(const Remote *remote, uint32_t signal, Error *err)
{
    if (signal == 0)
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d blocks or ignores every real-time signal",
                    remote->pid);
    if (process_mask(remote->pid, remote->pid, "Seccomp:") != SECCOMP_NONE)
        return FAIL(err, ST_REFUSED, NOWHERE,
                    "process %d filters its system calls (seccomp): the VM core cannot live in it",
                    remote->pid);
    return ST_OK;
}

static Status start_core(Remote *remote, const CoreOptions *options, bool is_child, Core *core,
                         uint64_t entry, Error *err)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    BurstPort port = { .state = BURST_STARTING,
                       .signal = core->signal,
                       .n_slots = (uint32_t)(processors > 0 ? 2 * processors : 2),
                       .edges = options->edges,
                       .share = options->share,
                       .burst_ns = options->burst_ns,
                       .image_start = core->image_start,
                       .image_end = core->image_end };
    uint64_t action = core->port + sizeof port - BURST_PATH_MAX; /* not used yet */
    TRY(change_action(remote, core->signal, 0, action, err));
    if (!process_read(remote->pid, &core->before, action, sizeof core->before) ||
        !process_write(remote->pid, core->port, &port, sizeof port))
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d: its memory cannot be reached",
                    remote->pid);
    TRY(remote_run(remote, core->image_start + entry, build_stack(remote, options, is_child, core),
                   err));
    if (!process_read(remote->pid, &port, core->port, sizeof port))
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d: its memory cannot be reached",
                    remote->pid);
    core->region_start = port.region_start;
    core->region_end = port.region_end;
    core->handler = port.handler;
    memcpy(core->live_path, port.live_path, sizeof core->live_path);
    if (port.state != BURST_READY)
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d: %.*s", remote->pid,
                    BURST_PROBLEM_MAX - 1, port.problem);
    return ST_OK;
}

static Status unmap(Remote *remote, const Core *core, Error *err)
{
    if (core->region_start < core->region_end)
        TRY(unmap_range(remote, core->region_start, core->region_end, err));
    if (core->image_start < core->image_end)
        TRY(unmap_range(remote, core->image_start, core->image_end, err));
    return ST_OK;
}

Status core_load(Remote *remote, const CoreOptions *options, bool is_child, Core *core, Error *err)
{
    CoreFile file;
    *core = (Core){ .pid = remote->pid, .signal = choose_signal(remote) };
    TRY(check_process(remote, core->signal, err));
    TRY(file_open(options->vm, &file, err));
    Status status = remote_begin(remote, remote->threads[0], err);
    if (status == ST_OK) {
        status = map_image(remote, &file, core, err);
        if (status == ST_OK)
            status = start_core(remote, options, is_child, core, file.entry, err);
        Error ignored;
        if (status != ST_OK && unmap(remote, core, &ignored) != ST_OK)
            error_set(err, ST_BUG, NOWHERE, ERROR_HERE, "process %d is left with the VM core in it",
                      remote->pid);
        remote_end(remote);
    }
    file_close(&file);
    return status;
}

/* ---- unloading ---------------------------------------------------------------------------- */

static bool is_inside(const Core *core, uint64_t pc)
{
    return (pc >= core->image_start && pc < core->image_end) ||
           (pc >= core->region_start && pc < core->region_end);
}

/* Takes a signal of the clock's out of the queue of a thread that blocks it. */
static Status drop_signal(Remote *remote, const Core *core, pid_t thread, Error *err)
{
    uint64_t bit = UINT64_C(1) << (core->signal - 1);
    uint64_t place = core->port + offsetof(BurstPort, problem);
    const uint64_t words[3] = { bit, 0, 0 }; /* the set, and no time to wait */
    int64_t result = 0;
    if ((process_mask(remote->pid, thread, "SigPnd:") & bit) == 0)
        return ST_OK;
    if (!process_write(remote->pid, place, words, sizeof words))
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d: its memory cannot be reached",
                    remote->pid);
    TRY(remote_begin(remote, thread, err));
    const uint64_t arg[6] = { place, 0, place + sizeof bit, MASK_BYTES, 0, 0 };
    Status status = ST_OK;
    do {
        status = remote_call(remote, SYS_rt_sigtimedwait, arg, &result, err);
    } while (status == ST_OK && result > 0);
    remote_end(remote);
    return status;
}

Status core_is_quiet(Remote *remote, const Core *core, bool *quiet, Error *err)
{
    uint32_t inside = 1;
    *quiet = process_read(remote->pid, &inside, core->port + offsetof(BurstPort, n_inside),
                          sizeof inside) &&
             inside == 0;
    for (size_t i = 0; i < remote->n_threads; i++)
        *quiet = *quiet && !is_inside(core, remote_pc(remote->threads[i]));
    for (size_t i = 0; i < remote->n_threads && *quiet; i++)
        TRY(drop_signal(remote, core, remote->threads[i], err));
    return ST_OK;
}

/* Where the action is still ours, the one before comes back. `place`: 64 bytes that may be used. */
static Status restore_action(Remote *remote, const Core *core, uint64_t place, Error *err)
{
    CoreAction now;
    TRY(change_action(remote, core->signal, 0, place, err));
    if (!process_read(remote->pid, &now, place, sizeof now) || now.handler != core->handler)
        return ST_OK;
    if (!process_write(remote->pid, place, &core->before, sizeof core->before))
        return FAIL(err, ST_REFUSED, NOWHERE, "process %d: its memory cannot be reached",
                    remote->pid);
    return change_action(remote, core->signal, place, 0, err);
}

Status core_unload(Remote *remote, const Core *core, Error *err)
{
    TRY(remote_begin(remote, remote->threads[0], err));
    Status status = restore_action(remote, core, core->port + offsetof(BurstPort, problem), err);
    if (status == ST_OK)
        status = unmap(remote, core, err);
    remote_end(remote);
    return status;
}

Status core_clear_child(Remote *remote, const Core *parent, Error *err)
{
    uint64_t place;
    TRY(remote_begin(remote, remote->threads[0], err));
    Status status = call(remote,
                         (RemoteCall){ SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, "mmap" },
                         &place, err);
    if (status == ST_OK) {
        status = restore_action(remote, parent, place, err);
        Error ignored;
        if (unmap_range(remote, place, place + PAGE, &ignored) != ST_OK && status == ST_OK)
            status = FAIL(err, ST_BUG, NOWHERE, "process %d keeps a page", remote->pid);
    }
    remote_end(remote);
    return status;
}

bool core_is_there(const Core *core)
{
    BurstPort port;
    return process_read(core->pid, &port, core->port, sizeof port) && port.state == BURST_READY &&
           port.image_start == core->image_start;
}

void core_turn_off(const Core *core)
{
    uint32_t off = 1;
    process_write(core->pid, core->port + offsetof(BurstPort, off), &off, sizeof off);
}

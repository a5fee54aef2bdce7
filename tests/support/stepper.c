/*
 * stepper.c: counts what a program executes by single-stepping it; the independent witness of
 * tests/run/exact.sh.
 *
 *     stepper [-l LENGTH -b BYTES -w WORDS] OUT -- PROGRAM ARGUMENT...
 *
 * Runs PROGRAM natively under ptrace, addresses not randomised, every thread one instruction at a
 * time, and writes the profile's text form to OUT: one block for each executed instruction, and all
 * edges, also from each instruction to the next. It shares with respin only the instruction decoder
 * (class and length) and the ELF reader; blocks and counts are its own. About 20,000 instructions a
 * second.
 *
 * The C library acts on some things that a VM shows its guests otherwise than the kernel does
 * (docs/limits.md); they are shown here as there: cpuid has no TSX, the vDSO stands above
 * the program's ld.so, and the initial stack has the VM's alignment: -l is the length of the VM's
 * own path (PROGRAM's is filled up with slashes to be as long), -b and -w are the size of the VM's
 * options in bytes and in words, which lie below the program's.
 *
 * What counts as in docs/formats/profile.md: `rep` once, however many steps it takes; a return
 * belongs to the executed call in front of its target.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/insn.h"
#include "core/image.h"
#include "core/profile.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define uthash_fatal(message) die(message)
static _Noreturn void die(const char *what);
#include <uthash.h>

enum { MAPS_MOST = 512, THREADS_MOST = 64, PATH_MOST = 512 };
enum { LEAF_FEATURES = 7, HLE = 1 << 4, RTM = 1 << 11 }; /* SDM vol. 2A CPUID */
enum { AT_VDSO = 33 };                                   /* AT_SYSINFO_EHDR */

/* An executable mapping, as /proc/PID/maps said when code in it was first met. */
typedef struct StepMap {
    uint64_t start, end, offset;
    char path[PATH_MOST];
    const Image *image; /* NULL: no ELF file */
} StepMap;

typedef struct Step {
    uint64_t addr; /* run-time; the key */
    uint64_t count;
    uint8_t size;
    uint8_t flow; /* Flow */
    bool rep;     /* a string instruction with a repeat prefix */
    bool cpuid;
    UT_hash_handle hh;
} Step;

typedef struct StepEdge {
    struct {
        uint64_t from, to;
    } key;
    uint64_t count;
    UT_hash_handle hh;
} StepEdge;

typedef struct StepThread {
    pid_t id;
    Step *last;    /* executed last; NULL: none that the next instruction follows */
    bool features; /* it was cpuid, asked for the leaf that tells of TSX */
} StepThread;

static Arena *arena;
static StepMap maps[MAPS_MOST];
static int n_maps;
static StepThread threads[THREADS_MOST];
static int n_threads;
static Step *steps;
static StepEdge *edges;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "stepper: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- code --------------------------------------------------------------------------------- */

static StepMap *find_map(uint64_t addr)
{
    for (int i = n_maps; i-- > 0;)
        if (addr >= maps[i].start && addr < maps[i].end)
            return &maps[i];
    return NULL;
}

/* Adds the mapping that holds `addr` now. */
static StepMap *add_map(pid_t pid, uint64_t addr)
{
    char name[64];
    char line[PATH_MOST + 128];
    snprintf(name, sizeof name, "/proc/%d/maps", pid);
    FILE *file = fopen(name, "r");
    if (file == NULL || n_maps == MAPS_MOST)
        die("maps");
    while (fgets(line, sizeof line, file) != NULL) {
        StepMap map = { .start = 0 };
        if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %511[^\n]", &map.start, &map.end, &map.offset,
                   map.path) < 3 ||
            addr < map.start || addr >= map.end)
            continue;
        if (map.path[0] == '/' && image_open(arena, map.path, &map.image, NULL) != ST_OK)
            map.image = NULL;
        maps[n_maps] = map;
        fclose(file);
        return &maps[n_maps++];
    }
    die("code outside every mapping");
}

/* The address in the file's own terms. */
static uint64_t link_address(const StepMap *map, uint64_t addr)
{
    if (map->image == NULL)
        return addr - map->start;
    uint64_t offset = addr - map->start + map->offset;
    for (uint32_t i = 0; i < map->image->n_segments; i++) {
        const Segment *segment = &map->image->segments[i];
        if (segment->type == PT_LOAD && (segment->flags & PF_X) != 0 &&
            offset >= segment->offset.v && offset < segment->offset.v + segment->file_size)
            return segment->addr.v + offset - segment->offset.v;
    }
    return addr;
}

static bool is_repeated(const uint8_t *bytes, uint8_t size)
{
    bool repeat = false;
    for (uint8_t i = 0; i < size; i++) {
        uint8_t byte = bytes[i];
        if (byte == 0xf2 || byte == 0xf3)
            repeat = true;
        else if (byte != 0x66 && byte != 0x67 && (byte & 0xf0) != 0x40 && byte != 0x2e &&
                 byte != 0x36 && byte != 0x3e && byte != 0x26 && byte != 0x64 && byte != 0x65)
            return repeat && ((byte >= 0xa4 && byte <= 0xa7) || (byte >= 0xaa && byte <= 0xaf) ||
                              (byte >= 0x6c && byte <= 0x6f));
    }
    return false;
}

static Step *find_step(pid_t pid, uint64_t addr)
{
    Step *step;
    HASH_FIND(hh, steps, &addr, sizeof addr, step);
    if (step != NULL)
        return step;
    if (find_map(addr) == NULL)
        add_map(pid, addr);
    union {
        long words[2];
        uint8_t bytes[16];
    } code;
    for (int i = 0; i < 2; i++) {
        errno = 0;
        code.words[i] = ptrace(PTRACE_PEEKTEXT, pid, addr + 8 * (uint64_t)i, 0);
        if (errno != 0)
            code.words[i] = 0;
    }
    Insn insn;
    if (!insn_decode((Bytes){ code.bytes, sizeof code.bytes }, vaddr(addr), &insn))
        die("an instruction that does not decode");
    step = calloc(1, sizeof *step);
    step->addr = addr;
    step->size = insn.size;
    step->flow = insn.flow;
    step->rep = is_repeated(code.bytes, insn.size);
    step->cpuid = insn.size == 2 && code.bytes[0] == 0x0f && code.bytes[1] == 0xa2;
    HASH_ADD(hh, steps, addr, sizeof addr, step);
    return step;
}

/* ---- stepping ----------------------------------------------------------------------------- */

static void count_edge(uint64_t from, uint64_t to)
{
    StepEdge *edge;
    StepEdge key = { .key = { from, to } };
    HASH_FIND(hh, edges, &key.key, sizeof key.key, edge);
    if (edge == NULL) {
        edge = calloc(1, sizeof *edge);
        edge->key = key.key;
        HASH_ADD(hh, edges, key, sizeof edge->key, edge);
    }
    edge->count++;
}

/* The thread stands before an instruction that it is about to execute. */
static void count_instruction(StepThread *thread)
{
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, thread->id, 0, &regs) != 0)
        die("registers");
    if (thread->last != NULL && thread->last->rep && thread->last->addr == regs.rip)
        return; /* the next round of the same `rep` */
    if (thread->features) {
        regs.rbx &= ~(unsigned long long)(HLE | RTM);
        if (ptrace(PTRACE_SETREGS, thread->id, 0, &regs) != 0)
            die("registers");
    }
    Step *step = find_step(thread->id, regs.rip);
    thread->features =
        step->cpuid && (uint32_t)regs.rax == LEAF_FEATURES && (uint32_t)regs.rcx == 0;
    if (thread->last != NULL)
        count_edge(thread->last->addr, step->addr);
    step->count++;
    thread->last = step;
}

static StepThread *find_thread(pid_t id)
{
    for (int i = 0; i < n_threads; i++)
        if (threads[i].id == id)
            return &threads[i];
    if (n_threads == THREADS_MOST)
        die("too many threads");
    threads[n_threads] = (StepThread){ .id = id };
    return &threads[n_threads++];
}

static void forget_thread(StepThread *thread)
{
    *thread = threads[--n_threads];
}

/* One stop of one thread; steps it on. */
static void handle_stop(StepThread *thread, int status)
{
    int signal = WSTOPSIG(status);
    long deliver = 0;
    bool is_event = status >> 16 != 0;
    bool is_new = signal == SIGSTOP && thread->last == NULL;
    if (!is_event && (signal == SIGTRAP || is_new)) {
        count_instruction(thread);
    } else if (!is_event) {
        deliver = signal;
        thread->last = NULL;
    }
    if (ptrace(PTRACE_SINGLESTEP, thread->id, 0, deliver) != 0 && errno != ESRCH)
        die("step");
}

/* Steps until no thread is left; the exit status of the first one. */
static int step_all(pid_t first)
{
    int result = 0;
    int status;
    for (pid_t id = waitpid(-1, &status, __WALL); id > 0; id = waitpid(-1, &status, __WALL)) {
        StepThread *thread = find_thread(id);
        if (WIFSTOPPED(status)) {
            handle_stop(thread, status);
            continue;
        }
        if (id == first)
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        forget_thread(thread);
    }
    return result;
}

/* A range of the tracee's mappings by name; false: it has none. */
static bool find_named(pid_t pid, const char *name, uint64_t *start, uint64_t *end)
{
    char path[64];
    char line[PATH_MOST + 128];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL)
        found = strstr(line, name) != NULL && sscanf(line, "%lx-%lx", start, end) == 2;
    if (file != NULL)
        fclose(file);
    return found;
}

/* Runs one system call in the tracee, which stands at its first instruction. */
static uint64_t remote_mremap(pid_t pid, uint64_t from, uint64_t size, uint64_t to)
{
    struct user_regs_struct before;
    struct user_regs_struct call;
    int status;
    if (ptrace(PTRACE_GETREGS, pid, 0, &before) != 0)
        die("registers");
    long code = ptrace(PTRACE_PEEKTEXT, pid, before.rip, 0);
    call = before;
    call.rax = SYS_mremap;
    call.rdi = from;
    call.rsi = call.rdx = size;
    call.r10 = MREMAP_MAYMOVE | MREMAP_FIXED;
    call.r8 = to;
    if (ptrace(PTRACE_POKETEXT, pid, before.rip, (code & ~0xffffL) | 0x050f) != 0 ||
        ptrace(PTRACE_SETREGS, pid, 0, &call) != 0 || ptrace(PTRACE_SINGLESTEP, pid, 0, 0) != 0 ||
        waitpid(pid, &status, 0) != pid || ptrace(PTRACE_GETREGS, pid, 0, &call) != 0 ||
        ptrace(PTRACE_POKETEXT, pid, before.rip, code) != 0 ||
        ptrace(PTRACE_SETREGS, pid, 0, &before) != 0)
        die("mremap");
    return call.rax;
}

static uint64_t peek(pid_t pid, uint64_t addr)
{
    return (uint64_t)ptrace(PTRACE_PEEKDATA, pid, addr, 0);
}

static void poke(pid_t pid, uint64_t addr, uint64_t value)
{
    if (ptrace(PTRACE_POKEDATA, pid, addr, value) != 0)
        die("stack");
}

/* The first word of the auxiliary vector: behind the arguments and the environment. */
static uint64_t auxv_of(pid_t pid, uint64_t sp)
{
    uint64_t at = sp + 8;
    for (int zeros = 0; zeros < 2; at += 8)
        zeros += peek(pid, at) == 0;
    return at;
}

/* Moves the vDSO above everything but the stack, and says so in the auxiliary vector. */
static void move_vdso(pid_t pid)
{
    uint64_t start, end, stack, stack_end;
    struct user_regs_struct regs;
    if (!find_named(pid, "[vdso]", &start, &end) || !find_named(pid, "[stack]", &stack, &stack_end))
        return;
    uint64_t to = stack - (UINT64_C(16) << 20);
    if (remote_mremap(pid, start, end - start, to) != to ||
        ptrace(PTRACE_GETREGS, pid, 0, &regs) != 0)
        die("the vDSO does not move");
    for (uint64_t at = auxv_of(pid, regs.rsp), type; (type = peek(pid, at)) != 0; at += 16)
        if (type == AT_SYSINFO_EHDR)
            poke(pid, at + 8, to);
}

/*
 * Puts the initial stack where it would be below the VM's options.
 *
 *     native   sp: argc argv envp auxv | random, platform | strings ... path
 *     VM       sp: words, argc argv envp auxv | random, platform | bytes, strings ... path
 *
 * As binfmt_elf.c lays it out: what stands below the strings moves down by `bytes`, rounded to 16;
 * argc comes behind `words` more words, moved down to a multiple of 16 (profiler/guest_stack.c).
 */
static void move_stack(pid_t pid, uint64_t bytes, uint64_t words)
{
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, pid, 0, &regs) != 0)
        die("registers");
    uint64_t strings = peek(pid, regs.rsp + 8); /* argv[0] */
    uint64_t auxv = auxv_of(pid, regs.rsp);
    uint64_t end = auxv;
    while (peek(pid, end) != 0)
        end += 16;
    end += 16;
    uint64_t down = (strings & ~15ull) - ((strings - bytes) & ~15ull);
    uint64_t n_words = (end - regs.rsp) / 8;
    uint64_t top = (strings & ~15ull) - down - 7 - 16; /* "x86_64", AT_RANDOM */
    uint64_t sp = ((top - 8 * (n_words + words)) & ~15ull) + 8 * words;
    if ((sp & 15) != 0)
        sp -= 8;
    for (uint64_t at = regs.rsp; at < end; at += 8)
        poke(pid, sp + (at - regs.rsp), peek(pid, at));
    for (uint64_t at = sp + (auxv - regs.rsp), type; (type = peek(pid, at)) != 0; at += 16) {
        if (type != AT_RANDOM && type != AT_PLATFORM)
            continue;
        uint64_t from = peek(pid, at + 8);
        for (uint64_t i = 0; i < 16; i += 8)
            poke(pid, from - down + i, peek(pid, from + i));
        poke(pid, at + 8, from - down);
    }
    regs.rsp = sp;
    if (ptrace(PTRACE_SETREGS, pid, 0, &regs) != 0)
        die("registers");
}

/* `program` with slashes added, `length` characters long. */
static char *longer_path(const char *program, size_t length)
{
    const char *slash = strchr(program, '/');
    size_t more = length > strlen(program) ? length - strlen(program) : 0;
    if (slash == NULL)
        die("the program's name has no slash");
    size_t head = (size_t)(slash - program);
    char *path = arena_alloc(arena, strlen(program) + more + 1);
    memcpy(path, program, head);
    memset(path + head, '/', more);
    strcpy(path + head + more, slash);
    return path;
}

static pid_t start(const char *path, char **argv, uint64_t bytes, uint64_t words)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (personality(ADDR_NO_RANDOMIZE) == -1 || ptrace(PTRACE_TRACEME, 0, 0, 0) != 0)
            die("trace");
        execv(path, argv);
        die(path);
    }
    int status;
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        die(path);
    if (ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) != 0)
        die("options");
    move_vdso(pid);
    move_stack(pid, bytes, words);
    handle_stop(find_thread(pid), SIGTRAP << 8 | 0x7f);
    return pid;
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Modules are numbered by the first mapping with their path. */
static int module_of(const StepMap *map)
{
    int number = 0;
    for (int i = 0; i < n_maps; i++) {
        int before = 0;
        while (strcmp(maps[before].path, maps[i].path) != 0)
            before++;
        if (strcmp(maps[i].path, map->path) == 0)
            return number;
        if (before == i)
            number++;
    }
    return -1;
}

static EdgeKind kind_of(const Step *step, uint64_t to)
{
    switch ((Flow)step->flow) {
    case FLOW_COND:
    case FLOW_LOOP:
        return to == step->addr + step->size ? EDGE_FALL : EDGE_TAKEN;
    case FLOW_JUMP:
        return EDGE_JUMP;
    case FLOW_JUMP_IND:
        return EDGE_JUMP_IND;
    case FLOW_CALL:
        return EDGE_CALL;
    case FLOW_CALL_IND:
        return EDGE_CALL_IND;
    case FLOW_RET:
        return EDGE_RET;
    case FLOW_SYSCALL:
        return EDGE_SYSCALL;
    default:
        return EDGE_FALL;
    }
}

static bool is_call(const Step *step)
{
    return step->flow == FLOW_CALL || step->flow == FLOW_CALL_IND;
}

/* The executed call that ends at `addr`; NULL: none. */
static const Step *call_before(uint64_t addr)
{
    for (uint64_t size = 2; size <= 10; size++) {
        uint64_t at = addr - size;
        Step *step;
        HASH_FIND(hh, steps, &at, sizeof at, step);
        if (step != NULL && step->size == size && is_call(step))
            return step;
    }
    return NULL;
}

static void write_edge(FILE *out, int module, const StepEdge *edge)
{
    Step *from;
    HASH_FIND(hh, steps, &edge->key.from, sizeof edge->key.from, from);
    EdgeKind kind = kind_of(from, edge->key.to);
    const Step *call = kind == EDGE_RET ? call_before(edge->key.to) : NULL;
    if (call != NULL) {
        kind = EDGE_RETURN_TO;
        from = (Step *)(uintptr_t)call;
    }
    const StepMap *from_map = find_map(from->addr);
    const StepMap *to_map = find_map(edge->key.to);
    if (module_of(from_map) != module)
        return;
    fprintf(out, "edge %s 0x%lx %d:0x%lx %lu\n", profile_edge_name(kind),
            link_address(from_map, from->addr), module_of(to_map),
            link_address(to_map, edge->key.to), edge->count);
}

static int by_address(const Step *left, const Step *right)
{
    return (left->addr > right->addr) - (left->addr < right->addr);
}

static void write_module(FILE *out, int module, const char *path)
{
    fprintf(out, "module %s\n", path);
    for (const Step *step = steps; step != NULL; step = step->hh.next) {
        const StepMap *map = find_map(step->addr);
        const Step *next = step->hh.next;
        if (module_of(map) != module)
            continue;
        uint64_t size = next != NULL && next->addr - step->addr < step->size
                            ? next->addr - step->addr
                            : step->size;
        fprintf(out, "block 0x%lx %lu 1 %lu %u\n", link_address(map, step->addr), size, step->count,
                step->size);
    }
    for (const StepEdge *edge = edges; edge != NULL; edge = edge->hh.next)
        write_edge(out, module, edge);
}

static void write_text(const char *path)
{
    FILE *out = fopen(path, "w");
    if (out == NULL)
        die(path);
    fprintf(out, "respin-profile-text 1\n");
    HASH_SRT(hh, steps, by_address);
    for (int i = 0, number = 0; i < n_maps; i++)
        if (module_of(&maps[i]) == number)
            write_module(out, number++, maps[i].path[0] != '\0' ? maps[i].path : "[anonymous]");
    if (fclose(out) != 0)
        die(path);
}

int main(int argc, char **argv)
{
    size_t length = 0;
    uint64_t bytes = 0;
    uint64_t words = 0;
    for (int option; (option = getopt(argc, argv, "+l:b:w:")) != -1;) {
        if (option == 'l')
            length = strtoul(optarg, NULL, 10);
        else if (option == 'b')
            bytes = strtoul(optarg, NULL, 10);
        else if (option == 'w')
            words = strtoul(optarg, NULL, 10);
        else
            return 2;
    }
    if (argc < optind + 3 || strcmp(argv[optind + 1], "--") != 0) {
        fprintf(stderr, "usage: stepper [-l LENGTH -b BYTES -w WORDS] OUT -- PROGRAM ARG...\n");
        return 2;
    }
    char **command = argv + optind + 2;
    arena = arena_new();
    pid_t pid = start(longer_path(command[0], length), command, bytes, words);
    int status = step_all(pid);
    write_text(argv[optind]);
    return status;
}

/*
 * load.c: maps an ELF program and its interpreter.
 *
 *   ET_EXEC   at its own addresses              (0x400000 is free: respin-vm is a static-pie that
 * the ET_DYN    at 0x555555554000 and upwards      kernel puts into the mmap area) PT_INTERP
 * wherever the kernel likes         the guest's ld.so is guest code like any other
 *
 * Each image is reserved as a whole, then its segments are mapped over the reservation; what of it
 * no segment covers is given back, as the kernel leaves it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/load.h"
#include "profiler/guard.h"
#include "profiler/maps.h"
#include "profiler/memory.h"
#include "profiler/text.h"

#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

#define PIE_BASE UINT64_C(0x555555554000)

enum {
    RANDOM_PAGES_BITS = 28, /* vm.mmap_rnd_bits, as Debian has it */
    PLACE_TRIES = 16,
};

static bool is_error(long result)
{
    return result < 0 && result >= -4095;
}

static bool read_at(long fd, void *to, uint64_t size, uint64_t offset)
{
    return raw_syscall(__NR_pread64, fd, (long)to, (long)size, (long)offset, 0, 0) == (long)size;
}

/* ---- the head ----------------------------------------------------------------------------- */

static const char *check_header(const Elf64_Ehdr *ehdr)
{
    if (memcmp(ehdr->e_ident, ELFMAG, SELFMAG) != 0)
        return "not an ELF file";
    if (ehdr->e_ident[EI_CLASS] != ELFCLASS64 || ehdr->e_machine != EM_X86_64)
        return "not a 64-bit x86 program";
    if (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN)
        return "neither an executable nor a shared object";
    if (ehdr->e_phentsize != sizeof(Elf64_Phdr))
        return "program headers of a strange size";
    if (ehdr->e_phnum == 0 || ehdr->e_phnum > LOAD_HEADERS_MAX)
        return "no program headers, or more than 64";
    return NULL;
}

static const char *note_load(ElfHead *head, const Elf64_Phdr *phdr, bool *any)
{
    uint64_t end = phdr->p_vaddr + phdr->p_memsz;
    if (phdr->p_filesz > phdr->p_memsz || end < phdr->p_vaddr || end >= UINT64_C(1) << 47)
        return "a segment of impossible size";
    if (((phdr->p_vaddr ^ phdr->p_offset) & (VM_PAGE - 1)) != 0)
        return "a segment whose address and offset disagree";
    if (*any && page_down(phdr->p_vaddr) < head->high - VM_PAGE)
        return "segments out of order";
    if (!*any)
        head->low = page_down(phdr->p_vaddr);
    if (!*any || page_up(end) > head->high)
        head->high = page_up(end);
    if (phdr->p_align > head->align && (phdr->p_align & (phdr->p_align - 1)) == 0)
        head->align = phdr->p_align;
    *any = true;
    return NULL;
}

/* The kernel maps what is not there, and the program dies when it touches it. */
static const char *check_bytes(long fd, const Elf64_Phdr *phdr)
{
    uint8_t last;
    if (phdr->p_filesz == 0 || read_at(fd, &last, 1, phdr->p_offset + phdr->p_filesz - 1))
        return NULL;
    return "cut short: a segment runs past the end of the file";
}

static const char *read_interpreter(long fd, const Elf64_Phdr *phdr, ElfHead *head)
{
    if (phdr->p_filesz < 2 || phdr->p_filesz > LOAD_PATH_MAX)
        return "an interpreter name of impossible length";
    if (!read_at(fd, head->interpreter, phdr->p_filesz, phdr->p_offset))
        return "the interpreter's name runs past the end";
    if (head->interpreter[phdr->p_filesz - 1] != '\0')
        return "the interpreter's name does not end";
    return NULL;
}

const char *elf_read_head(long fd, ElfHead *head)
{
    const char *problem = "too short for an ELF file";
    if (!read_at(fd, &head->ehdr, sizeof head->ehdr, 0) ||
        (problem = check_header(&head->ehdr)) != NULL)
        return problem;
    if (!read_at(fd, head->phdr, head->ehdr.e_phnum * sizeof(Elf64_Phdr), head->ehdr.e_phoff))
        return "program headers run past the end";
    bool any = false;
    head->interpreter[0] = '\0';
    head->align = VM_PAGE;
    head->low = head->high = 0;
    head->stack_executable = false;
    for (int i = 0; i < head->ehdr.e_phnum && problem == NULL; i++) {
        const Elf64_Phdr *phdr = &head->phdr[i];
        if (phdr->p_type == PT_LOAD)
            problem = note_load(head, phdr, &any);
        if (phdr->p_type == PT_LOAD && problem == NULL)
            problem = check_bytes(fd, phdr);
        if (phdr->p_type == PT_INTERP && head->interpreter[0] == '\0')
            problem = read_interpreter(fd, phdr, head);
        if (phdr->p_type == PT_GNU_STACK)
            head->stack_executable = (phdr->p_flags & PF_X) != 0;
    }
    if (problem == NULL && !any)
        problem = "nothing to load";
    return problem;
}

/* ---- mapping ------------------------------------------------------------------------------ */

__attribute__((noreturn)) static void cannot(const char *what, const char *path)
{
    Text text;
    text_start(&text);
    text_put(&text, path);
    text_put(&text, ": ");
    text_put(&text, what);
    vm_die(text.bytes, 0);
}

static long map_at(uint64_t at, uint64_t size, long prot, long flags, long fd, uint64_t offset)
{
    return raw_syscall(__NR_mmap, (long)at, (long)size, prot, flags, fd, (long)offset);
}

static uint64_t random_pages(void)
{
    uint64_t bits = 0;
    raw_syscall(__NR_getrandom, (long)&bits, sizeof bits, 0, 0, 0, 0);
    return bits & ((UINT64_C(1) << RANDOM_PAGES_BITS) - 1);
}

/* Reserves the image's addresses; the bias, or an error. */
static long reserve_image(const ElfHead *head, uint64_t wanted)
{
    long flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint64_t size = head->high - head->low;
    if (wanted != 0) {
        long got = map_at(wanted, size, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (is_error(got) || (uint64_t)got == wanted)
            return is_error(got) ? got : (long)(wanted - head->low);
        raw_syscall(__NR_munmap, got, (long)size, 0, 0, 0, 0);
        return -1;
    }
    uint64_t room = size + head->align;
    long got = map_at(0, room, PROT_NONE, flags, -1, 0);
    if (is_error(got))
        return got;
    uint64_t start = ((uint64_t)got + head->align - 1) & ~(head->align - 1);
    if (start != (uint64_t)got)
        raw_syscall(__NR_munmap, got, (long)(start - (uint64_t)got), 0, 0, 0, 0);
    if (start + size != (uint64_t)got + room)
        raw_syscall(__NR_munmap, (long)(start + size), (long)((uint64_t)got + room - start - size),
                    0, 0, 0, 0);
    return (long)(start - head->low);
}

static long place_image(const ElfHead *head, bool is_program, bool randomize)
{
    if (head->ehdr.e_type == ET_EXEC)
        return reserve_image(head, head->low);
    if (!is_program)
        return reserve_image(head, 0);
    for (int i = 0; i < PLACE_TRIES; i++) {
        uint64_t at = PIE_BASE + (randomize ? random_pages() * VM_PAGE : 0);
        long bias = reserve_image(head, (at + head->align - 1) & ~(head->align - 1));
        if (!is_error(bias) || !randomize)
            return is_error(bias) ? reserve_image(head, 0) : bias;
    }
    return reserve_image(head, 0);
}

static long prot_of(const Elf64_Phdr *phdr)
{
    return ((phdr->p_flags & PF_R) != 0 ? PROT_READ : 0) |
           ((phdr->p_flags & PF_W) != 0 ? PROT_WRITE : 0) |
           ((phdr->p_flags & PF_X) != 0 ? PROT_EXEC : 0);
}

/* The file's part of a segment, then zeros to its end. */
static bool map_segment(long fd, const Elf64_Phdr *phdr, uint64_t bias)
{
    uint64_t start = page_down(phdr->p_vaddr + bias);
    uint64_t file_end = phdr->p_vaddr + bias + phdr->p_filesz;
    uint64_t end = page_up(phdr->p_vaddr + bias + phdr->p_memsz);
    uint64_t offset = page_down(phdr->p_offset);
    long prot = prot_of(phdr);
    MapAccess access = { .writable = (prot & PROT_WRITE) != 0 };
    if (phdr->p_filesz != 0) {
        long got =
            map_at(start, page_up(file_end) - start, prot, MAP_PRIVATE | MAP_FIXED, fd, offset);
        if (is_error(got))
            return false;
        if ((prot & PROT_EXEC) != 0)
            maps_add(start, page_up(file_end), fd, offset, access);
        if (prot == (PROT_READ | PROT_EXEC))
            guard_text(start, page_up(file_end) - start, fd, offset);
        start = page_up(file_end);
        if ((prot & PROT_WRITE) != 0 && phdr->p_memsz > phdr->p_filesz)
            memset((void *)file_end, 0, start - file_end);
    }
    if (start >= end)
        return true;
    if (is_error(map_at(start, end - start, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)))
        return false;
    if ((prot & PROT_EXEC) != 0)
        maps_add(start, end, -1, 0, access);
    return true;
}

static void release_gaps(const ElfHead *head, uint64_t bias)
{
    uint64_t at = head->low;
    for (int i = 0; i < head->ehdr.e_phnum; i++) {
        const Elf64_Phdr *phdr = &head->phdr[i];
        if (phdr->p_type != PT_LOAD)
            continue;
        uint64_t start = page_down(phdr->p_vaddr);
        if (start > at)
            raw_syscall(__NR_munmap, (long)(at + bias), (long)(start - at), 0, 0, 0, 0);
        uint64_t end = page_up(phdr->p_vaddr + phdr->p_memsz);
        at = end > at ? end : at;
    }
}

static long open_head(const char *path, ElfHead *head)
{
    long fd = raw_syscall(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        cannot("cannot be opened", path);
    const char *problem = elf_read_head(fd, head);
    if (problem != NULL)
        cannot(problem, path);
    return fd;
}

/* Maps the image of `path`; its bias. */
static uint64_t load_image(const char *path, ElfHead *head, bool is_program, bool randomize)
{
    long fd = open_head(path, head);
    long bias = place_image(head, is_program, randomize);
    if (is_error(bias))
        cannot("its addresses are taken", path);
    for (int i = 0; i < head->ehdr.e_phnum; i++)
        if (head->phdr[i].p_type == PT_LOAD && !map_segment(fd, &head->phdr[i], (uint64_t)bias))
            cannot("a segment cannot be mapped", path);
    release_gaps(head, (uint64_t)bias);
    raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
    return (uint64_t)bias;
}

/* As the kernel finds it: PT_PHDR, else the segment that holds e_phoff. */
static uint64_t phdr_address(const ElfHead *head, uint64_t bias)
{
    uint64_t offset = head->ehdr.e_phoff;
    uint64_t found = 0;
    for (int i = 0; i < head->ehdr.e_phnum; i++) {
        const Elf64_Phdr *phdr = &head->phdr[i];
        if (phdr->p_type == PT_PHDR)
            return phdr->p_vaddr + bias;
        if (phdr->p_type == PT_LOAD && found == 0 && offset >= phdr->p_offset &&
            offset < phdr->p_offset + phdr->p_filesz)
            found = offset - phdr->p_offset + phdr->p_vaddr + bias;
    }
    return found;
}

/* binfmt_elf's reckoning: code from the first to the last executable byte, data the last segment's.
 */
static void reckon_ranges(const ElfHead *head, uint64_t bias, Loaded *out)
{
    out->code_start = UINT64_MAX;
    out->code_end = out->data_start = out->data_end = 0;
    for (int i = 0; i < head->ehdr.e_phnum; i++) {
        const Elf64_Phdr *phdr = &head->phdr[i];
        uint64_t start = phdr->p_vaddr + bias;
        uint64_t end = start + phdr->p_filesz;
        bool code = (phdr->p_flags & PF_X) != 0;
        if (phdr->p_type != PT_LOAD)
            continue;
        if (code && start < out->code_start)
            out->code_start = start;
        if (code && end > out->code_end)
            out->code_end = end;
        if (start > out->data_start)
            out->data_start = start;
        if (end > out->data_end)
            out->data_end = end;
    }
}

void load_program(const char *path, bool randomize, Loaded *out)
{
    static ElfHead head;
    static ElfHead interpreter;
    uint64_t bias = load_image(path, &head, true, randomize);
    out->entry = out->start_pc = head.ehdr.e_entry + bias;
    out->phdr = phdr_address(&head, bias);
    out->n_phdr = head.ehdr.e_phnum;
    out->image_start = head.low + bias;
    out->image_end = head.high + bias;
    reckon_ranges(&head, bias, out);
    out->stack_executable = head.stack_executable;
    out->interp_base = 0;
    if (head.interpreter[0] == '\0')
        return;
    out->interp_base = load_image(head.interpreter, &interpreter, false, randomize);
    out->start_pc = interpreter.ehdr.e_entry + out->interp_base;
    out->interp_base += interpreter.low;
}

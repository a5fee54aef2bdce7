/*
 * zydis_load.c: a loader for one small, self-contained shared object.
 *
 *   PT_LOAD -> mmap into memory of the VM's    PT_DYNAMIC -> symbols, RELA tables    relocate,
 * protect
 *
 * Debian ships Zydis as a shared library only, and the VM core has no libc and no dynamic linker
 * (design.md 3.1). The library needs five functions of libc, all of them trivial, and four kinds of
 * relocation; anything else is refused with a text. Its constructors are none.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/zydis_load.h"

#include "profiler/vm.h"

#include <asm/unistd.h>
#include <elf.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

enum { PAGE = 4096, MAX_HEADERS = 32, OPEN_READ = 0 };

typedef struct Dynamic {
    uint64_t symtab, strtab, rela, rela_size, jmprel, jmprel_size, hash, gnu_hash;
} Dynamic;

static bool same_text(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b)
        a++, b++;
    return *a == *b;
}

/* ---- what the library needs of libc ---- */

static void *need_memcpy(void *to, const void *from, size_t size)
{
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return result;
}

static void *need_memset(void *to, int byte, size_t size)
{
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
    return result;
}

static size_t need_strlen(const char *text)
{
    size_t n = 0;
    while (text[n] != '\0')
        n++;
    return n;
}

static void need_assert_fail(void)
{
    vm_die("the decoder library failed an assertion", 0);
}

static void need_stack_chk_fail(void)
{
    vm_die("the decoder library smashed its stack", 0);
}

static uint64_t needed_address(const char *name)
{
    const struct {
        const char *name;
        uint64_t address;
    } needs[] = {
        { "memcpy", (uint64_t)(uintptr_t)need_memcpy },
        { "memset", (uint64_t)(uintptr_t)need_memset },
        { "strlen", (uint64_t)(uintptr_t)need_strlen },
        { "__assert_fail", (uint64_t)(uintptr_t)need_assert_fail },
        { "__stack_chk_fail", (uint64_t)(uintptr_t)need_stack_chk_fail },
    };
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
        if (same_text(name, needs[i].name))
            return needs[i].address;
    }
    return 0;
}

/* ---- mapping ---- */

static long map_pages(uint64_t at, uint64_t size, long prot, long flags, long fd, uint64_t offset)
{
    return raw_syscall(__NR_mmap, (long)at, (long)size, prot, flags, fd, (long)offset);
}

static bool map_failed(long result)
{
    return result < 0 && result > -PAGE;
}

static uint64_t page_down(uint64_t address)
{
    return address & ~(uint64_t)(PAGE - 1);
}

static uint64_t page_up(uint64_t address)
{
    return page_down(address + PAGE - 1);
}

static bool map_segment(long fd, uint64_t bias, const Elf64_Phdr *ph)
{
    uint64_t start = page_down(bias + ph->p_vaddr);
    uint64_t file_end = bias + ph->p_vaddr + ph->p_filesz;
    uint64_t end = page_up(bias + ph->p_vaddr + ph->p_memsz);
    long prot = PROT_READ | PROT_WRITE | ((ph->p_flags & PF_X) != 0 ? PROT_EXEC : 0);
    if (map_failed(map_pages(start, page_up(file_end) - start, prot, MAP_PRIVATE | MAP_FIXED, fd,
                             page_down(ph->p_offset))))
        return false;
    if ((ph->p_flags & PF_W) != 0) /* the rest of the last page, then whole pages, are zero */
        need_memset((void *)file_end, 0, page_up(file_end) - file_end);
    if (end > page_up(file_end) &&
        map_failed(map_pages(page_up(file_end), end - page_up(file_end), prot,
                             MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0)))
        return false;
    return true;
}

static bool map_image(long fd, const Elf64_Ehdr *eh, const Elf64_Phdr *ph, uint64_t *bias)
{
    uint64_t end = 0;
    for (unsigned i = 0; i < eh->e_phnum; i++) {
        if (ph[i].p_type == PT_LOAD && ph[i].p_vaddr + ph[i].p_memsz > end)
            end = ph[i].p_vaddr + ph[i].p_memsz;
    }
    if (end == 0)
        return false;
    *bias = page_up((uint64_t)vm_alloc_code(page_up(end) + PAGE)); /* among what is the VM's */
    for (unsigned i = 0; i < eh->e_phnum; i++) {
        if (ph[i].p_type == PT_LOAD && !map_segment(fd, *bias, &ph[i]))
            return false;
    }
    return true;
}

/* ---- relocating ---- */

static void read_dynamic(uint64_t bias, const Elf64_Dyn *entry, Dynamic *dynamic)
{
    for (; entry->d_tag != DT_NULL; entry++) {
        uint64_t value = entry->d_un.d_val;
        switch (entry->d_tag) {
        case DT_SYMTAB:
            dynamic->symtab = bias + value;
            break;
        case DT_STRTAB:
            dynamic->strtab = bias + value;
            break;
        case DT_RELA:
            dynamic->rela = bias + value;
            break;
        case DT_RELASZ:
            dynamic->rela_size = value;
            break;
        case DT_JMPREL:
            dynamic->jmprel = bias + value;
            break;
        case DT_PLTRELSZ:
            dynamic->jmprel_size = value;
            break;
        case DT_HASH:
            dynamic->hash = bias + value;
            break;
        case DT_GNU_HASH:
            dynamic->gnu_hash = bias + value;
            break;
        default:
            break;
        }
    }
}

/* The number of symbols stands in no header: it is one past the end of the longest hash chain. */
static uint32_t count_symbols(const Dynamic *dynamic)
{
    if (dynamic->hash != 0)
        return ((const uint32_t *)dynamic->hash)[1];
    if (dynamic->gnu_hash == 0)
        return 0;
    const uint32_t *head = (const uint32_t *)dynamic->gnu_hash;
    const uint32_t *bucket = head + 4 + (uint64_t)head[2] * 2;
    const uint32_t *chain = bucket + head[0];
    uint32_t last = 0;
    for (uint32_t i = 0; i < head[0]; i++)
        last = bucket[i] > last ? bucket[i] : last;
    if (last == 0)
        return head[1];
    while ((chain[last - head[1]] & 1) == 0)
        last++;
    return last + 1;
}

static bool relocate(const LoadedLibrary *library, uint64_t table, uint64_t size, const char **why)
{
    const Elf64_Rela *rela = (const Elf64_Rela *)table;
    const Elf64_Sym *symbols = (const Elf64_Sym *)library->symbols;
    for (uint64_t i = 0; i < size / sizeof *rela; i++) {
        uint64_t *place = (uint64_t *)(library->bias + rela[i].r_offset);
        const Elf64_Sym *symbol = &symbols[ELF64_R_SYM(rela[i].r_info)];
        const char *name = (const char *)library->strings + symbol->st_name;
        uint64_t value =
            symbol->st_shndx != SHN_UNDEF ? library->bias + symbol->st_value : needed_address(name);
        switch (ELF64_R_TYPE(rela[i].r_info)) {
        case R_X86_64_RELATIVE:
            *place = library->bias + (uint64_t)rela[i].r_addend;
            continue;
        case R_X86_64_64:
        case R_X86_64_GLOB_DAT:
        case R_X86_64_JUMP_SLOT:
            break;
        default:
            *why = "the decoder library has a relocation of unknown type";
            return false;
        }
        if (value == 0 && ELF64_ST_BIND(symbol->st_info) != STB_WEAK) {
            *why = "the decoder library needs a function that the VM does not have";
            return false;
        }
        *place = value + (uint64_t)rela[i].r_addend;
    }
    return true;
}

static void protect(uint64_t bias, const Elf64_Ehdr *eh, const Elf64_Phdr *ph)
{
    for (unsigned i = 0; i < eh->e_phnum; i++) {
        if (ph[i].p_type != PT_LOAD)
            continue;
        uint64_t start = page_down(bias + ph[i].p_vaddr);
        uint64_t end = page_up(bias + ph[i].p_vaddr + ph[i].p_memsz);
        long prot = PROT_READ | ((ph[i].p_flags & PF_W) != 0 ? PROT_WRITE : 0) |
                    ((ph[i].p_flags & PF_X) != 0 ? PROT_EXEC : 0);
        raw_syscall(__NR_mprotect, (long)start, (long)(end - start), prot, 0, 0, 0);
    }
}

static bool load_open(long fd, LoadedLibrary *library, const char **why)
{
    struct {
        Elf64_Ehdr eh;
        Elf64_Phdr ph[MAX_HEADERS];
    } head;
    Dynamic dynamic = { 0 };
    long size = raw_syscall(__NR_pread64, fd, (long)(uintptr_t)&head, sizeof head, 0, 0, 0);
    *why = "the decoder library is not an x86-64 shared object";
    if (size < (long)sizeof head.eh || head.eh.e_machine != EM_X86_64 || head.eh.e_type != ET_DYN ||
        head.eh.e_phoff != sizeof head.eh || head.eh.e_phnum > MAX_HEADERS ||
        size < (long)(sizeof head.eh + head.eh.e_phnum * sizeof head.ph[0]))
        return false;
    *why = "cannot map the decoder library";
    if (!map_image(fd, &head.eh, head.ph, &library->bias))
        return false;
    for (unsigned i = 0; i < head.eh.e_phnum; i++) {
        if (head.ph[i].p_type == PT_DYNAMIC)
            read_dynamic(library->bias, (const Elf64_Dyn *)(library->bias + head.ph[i].p_vaddr),
                         &dynamic);
    }
    library->symbols = dynamic.symtab;
    library->strings = dynamic.strtab;
    library->n_symbols = count_symbols(&dynamic);
    if (!relocate(library, dynamic.rela, dynamic.rela_size, why) ||
        !relocate(library, dynamic.jmprel, dynamic.jmprel_size, why))
        return false;
    protect(library->bias, &head.eh, head.ph);
    return true;
}

bool library_load(const char *path, LoadedLibrary *library, const char **why)
{
    long fd = raw_syscall(__NR_open, (long)(uintptr_t)path, OPEN_READ, 0, 0, 0, 0);
    *why = "cannot open the decoder library";
    if (fd < 0)
        return false;
    bool loaded = load_open(fd, library, why);
    raw_syscall(__NR_close, fd, 0, 0, 0, 0, 0);
    return loaded;
}

void *library_symbol(const LoadedLibrary *library, const char *name)
{
    const Elf64_Sym *symbols = (const Elf64_Sym *)library->symbols;
    for (uint32_t i = 0; i < library->n_symbols; i++) {
        if (symbols[i].st_shndx != SHN_UNDEF &&
            same_text(name, (const char *)library->strings + symbols[i].st_name))
            return (void *)(library->bias + symbols[i].st_value);
    }
    return NULL;
}

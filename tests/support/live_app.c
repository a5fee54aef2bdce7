/* A shared object, a folder for it, and live profiles of it. SPDX-License-Identifier: MIT */
#include "tests/support/live_app.h"
#include "tests/support/cmocka.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder with `app` in it, a shared object whose code stands at 0x2000, at offset 0x1000. */
static char folder[] = "/tmp/respin-live-XXXXXX";
static char app[64];
static char out_path[64];

// clang-format off
static const uint8_t code[] = {
    LIVE_APP_FIRST_BYTE,          /* 2000 nop                      */
    0xb8, 0x01, 0x00, 0x00, 0x00, /* 2001 mov eax, 1               */
    0x85, 0xc0,                   /* 2006 test eax, eax            */
    0x75, 0xfc,                   /* 2008 jne 2006                 */
    0xe8, 0x01, 0x00, 0x00, 0x00, /* 200a call 2010                */
    0xc3,                         /* 200f ret                      */
    0xc3,                         /* 2010 ret                      */
    0xf0, 0x0f, 0xb1, 0x0f,       /* 2011 lock cmpxchg [rdi], ecx  */
    0xc3,                         /* 2015 ret                      */
    0x0f, 0x05,                   /* 2016 syscall                  */
    0xff, 0xd0,                   /* 2018 call rax                 */
    0xc3,                         /* 201a ret                      */
};
// clang-format on

void live_app_write_file(const char *path, Bytes bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    assert_int_equal(write(fd, bytes.data, bytes.len), bytes.len);
    close(fd);
}

void live_app_write(uint8_t first_byte)
{
    Arena *arena = arena_new();
    Elf64_Ehdr header = { .e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT };
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_phoff = header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    header.e_shentsize = sizeof(Elf64_Shdr);
    Elf64_Phdr load = { .p_type = PT_LOAD,
                        .p_flags = PF_R | PF_X,
                        .p_offset = 0x1000,
                        .p_vaddr = 0x2000,
                        .p_paddr = 0x2000,
                        .p_filesz = sizeof code,
                        .p_memsz = sizeof code,
                        .p_align = 0x1000 };
    Buffer file = { .arena = arena };
    buffer_put(&file, &header, sizeof header);
    buffer_put(&file, &load, sizeof load);
    buffer_align(&file, 0x1000, 0);
    buffer_put(&file, code, sizeof code);
    file.data[0x1000] = first_byte;
    live_app_write_file(app, buffer_bytes(&file));
    arena_free(arena);
}

int live_app_set_up(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(app, sizeof app, "%s/app", folder);
    snprintf(out_path, sizeof out_path, "%s/out", folder);
    live_app_write(LIVE_APP_FIRST_BYTE);
    return 0;
}

int live_app_tear_down(void **state)
{
    (void)state;
    unlink(app);
    unlink(out_path);
    return rmdir(folder);
}

const char *live_app_out_path(void)
{
    return out_path;
}

uint64_t at(uint64_t address)
{
    return LIVE_APP_BIAS + address;
}

LiveMaker maker_with_app(uint32_t pid)
{
    LiveMaker maker = live_maker(LIVE_APP_RUN, pid);
    live_maker_map(&maker, at(0x2000), at(0x3000), 0x1000, app);
    return maker;
}

LiveMaker usual_maker(uint32_t pid)
{
    LiveMaker maker = maker_with_app(pid);
    live_maker_block(&maker, 0, at(0x2000), 10, 4, 8, LIVE_END_COND, at(0x2006), 3, 1);
    live_maker_block(&maker, 0, at(0x2006), 4, 2, 2, LIVE_END_COND, at(0x2006), 5, 3);
    live_maker_block(&maker, 0, at(0x200a), 5, 1, 0, LIVE_END_CALL, at(0x2010), 4, 4);
    live_maker_block(&maker, 0, at(0x200f), 1, 1, 0, LIVE_END_RET, 0, 4, 0);
    live_maker_block(&maker, 0, at(0x2010), 1, 1, 0, LIVE_END_RET, 0, 4, 0);
    live_maker_block(&maker, 0, at(0x2015), 1, 1, 0, LIVE_END_RET, 0, 0, 0); /* never run */
    return maker;
}

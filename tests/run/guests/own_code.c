/*
 * own_code.c: code that is changed, and read, by way of /proc/self/mem and of process_vm_writev to
 * itself: in read-only text, in writable code, across pages, from another thread, in a child.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, TURNS = 50 };

/* mov $imm32, %eax; ret */
#define RETURNS(name, value)                                                                       \
    int name(void);                                                                                \
    __asm__(".text\n.globl " #name "\n.type " #name ", @function\n.p2align 12\n" #name             \
            ":\n\tmov $" #value ", %eax\n\tret\n.size " #name ", .-" #name "\n.p2align 12\n")
RETURNS(first, 1);
RETURNS(second, 2);
RETURNS(third, 3);
RETURNS(fourth, 4);

static int memory;

static void must(int done)
{
    if (!done)
        printf("failed: %s\n", strerrorname_np(errno));
}

static int call_many(int (*function)(void))
{
    int sum = 0;
    for (int i = 0; i < TURNS; i++)
        sum += function();
    return sum;
}

/* Each way to write the operand of `mov`, right after the code was run. */
static void text(void)
{
    int value = 10;
    int sum = call_many(first);
    must(pwrite(memory, &value, 4, (off_t)first + 1) == 4);
    sum += call_many(first);
    value = 20;
    must(lseek(memory, (off_t)first + 1, SEEK_SET) == (off_t)first + 1);
    must(write(memory, &value, 4) == 4);
    sum += call_many(first);
    uint8_t bytes[4] = { 30, 0, 0, 0 };
    struct iovec parts[2] = { { bytes, 1 }, { bytes + 1, 3 } };
    must(pwritev(memory, parts, 2, (off_t)first + 1) == 4);
    sum += call_many(first);
    bytes[0] = 40;
    must(lseek(memory, (off_t)first + 1, SEEK_SET) == (off_t)first + 1);
    must(writev(memory, parts, 2) == 4);
    sum += call_many(first);
    bytes[0] = 50;
    must(pwritev2(memory, parts, 2, (off_t)first + 1, 0) == 4);
    printf("text: %d\n", sum + call_many(first));
}

static void text_is_protected(void)
{
    int value = 99;
    struct iovec from = { &value, 4 }, to = { (char *)second + 1, 4 };
    long result = process_vm_writev(getpid(), &from, 1, &to, 1, 0);
    printf("process_vm_writev to text: %s, %d\n", result < 0 ? strerrorname_np(errno) : "done",
           second());
    uint8_t bytes[12] = { 0 };
    struct iovec into[2] = { { bytes, 6 }, { bytes + 6, 6 } };
    struct iovec parts[2] = { { (void *)second, 6 }, { (void *)third, 6 } };
    result = process_vm_readv(getpid(), into, 2, parts, 2, 0);
    printf("process_vm_readv of text: %ld %02x %d %02x %d\n", result, bytes[0], bytes[1], bytes[6],
           bytes[7]);
    memset(bytes, 0, sizeof bytes);
    result = pread(memory, bytes, 6, (off_t)fourth);
    printf("the file: %ld %02x %d\n", result, bytes[0], bytes[1]);
}

static void put(uint8_t *at, int value)
{
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}

/* Code at the end of one page and the beginning of the next, written at once. */
static void generated(void)
{
    uint8_t *code = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *a = code + PAGE - 6, *b = code + PAGE;
    long sum = 0;
    put(a, 1);
    put(b, 1);
    for (int i = 0; i < TURNS; i++) {
        uint8_t bytes[12];
        sum += ((int (*)(void))a)() + ((int (*)(void))b)();
        put(bytes, i);
        put(bytes + 6, 2 * i);
        struct iovec from[2] = { { bytes, 8 }, { bytes + 8, 4 } };
        struct iovec to[3] = { { a, 6 }, { b, 3 }, { b + 3, 3 } };
        if (i % 2 == 0)
            must(process_vm_writev(getpid(), from, 2, to, 3, 0) == 12);
        else
            must(pwrite(memory, bytes, 12, (off_t)a) == 12);
        sum += ((int (*)(void))a)() + ((int (*)(void))b)();
    }
    printf("generated: %ld\n", sum);
}

static void *from_a_thread(void *argument)
{
    char name[64];
    int value = 33;
    snprintf(name, sizeof name, "/proc/%d/task/%ld/mem", getpid(), syscall(SYS_gettid));
    int fd = open(name, O_RDWR);
    must(pwrite(fd, &value, 4, (off_t)third + 1) == 4);
    close(fd);
    return argument;
}

int main(void)
{
    pthread_t thread;
    memory = open("/proc/self/mem", O_RDWR);
    text();
    text_is_protected();
    generated();
    printf("before: %d\n", call_many(third));
    pthread_create(&thread, NULL, from_a_thread, NULL);
    pthread_join(thread, NULL);
    printf("by a thread: %d\n", call_many(third));
    fflush(stdout);
    if (fork() == 0) {
        int value = 44;
        close(memory);
        must(chdir("/proc/self") == 0);
        memory = open("mem", O_RDWR);
        must(pwrite(memory, &value, 4, (off_t)fourth + 1) == 4);
        printf("in a child: %d %d\n", call_many(third), call_many(fourth));
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    printf("not in its parent: %d\n", call_many(fourth));
    return 0;
}

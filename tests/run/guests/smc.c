/*
 * Code that changes: by itself, at the very next instruction; from another thread; by the kernel;
 * often; through another mapping; while SIGSEGV is blocked. SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

typedef int Code(int);

enum { PAGE = 4096, RWX = PROT_READ | PROT_WRITE | PROT_EXEC };

static uint8_t *new_pages(int n, int prot)
{
    void *at = mmap(NULL, (size_t)n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        exit(1);
    return at;
}

static size_t put_return(uint8_t *at, int value)
{
    at[0] = 0xb8; /* mov eax, value; ret */
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
    return 6;
}

static int run(const void *at, int argument)
{
    return ((Code *)(uintptr_t)at)(argument);
}

/* mov [rip + 1], edi patches the operand of the instruction behind it. */
static void own_next_instruction(uint8_t *at)
{
    static const uint8_t code[] = { 0x89, 0x3d, 1, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0x83, 0xc0, 1, 0xc3 };
    long sum = 0;
    memcpy(at, code, sizeof code);
    for (int i = 0; i < 300; i++)
        sum += run(at, i) * (i + 1L);
    printf("next instruction %ld\n", sum);
}

/* The same with rep movsb, and with a store of 32 bytes that ends in the next page. */
static void own_block_by_copy(uint8_t *at)
{
    static const uint8_t code[] = { 0x48, 0x8d, 0x3d, 8, 0, 0,   0, /* lea rdi, [target] */
                                    0xb9, 4,    0,    0, 0,         /* mov ecx, 4 */
                                    0xf3, 0xa4,                     /* rep movsb */
                                    0xb8, 0,    0,    0, 0, 0xc3 };
    long sum = 0;
    memcpy(at, code, sizeof code);
    for (int i = 0; i < 50; i++) {
        int value = i * 1000003, result;
        const void *from = &value;
        __asm__ volatile("call *%2"
                         : "=a"(result), "+S"(from)
                         : "r"(at)
                         : "rcx", "rdi", "memory", "cc");
        sum += result;
    }
    printf("rep movsb %ld\n", sum);
}

/* A loop that patches its own body each time round. */
static void own_loop(uint8_t *at)
{
    static const uint8_t code[] = {
        0x31, 0xc0,                         /* 00 xor eax, eax */
        0x05, 0,    0,    0,    0,          /* 02 add eax, N   <- patched */
        0xff, 0x05, 0xf6, 0xff, 0xff, 0xff, /* 07 inc dword [rip - 10] = [03] */
        0xff, 0xcf,                         /* 0d dec edi */
        0x75, 0xf1,                         /* 0f jnz 02 */
        0xc3,
    };
    memcpy(at, code, sizeof code);
    printf("own loop %d\n", run(at, 5));
    printf("own loop again %d\n", run(at, 1000));
}

static void often(uint8_t *at)
{
    long sum = 0;
    for (int i = 0; i < 2000; i++) {
        put_return(at + 64 * (i % 32), i);
        sum += run(at + 64 * (i % 32), 0) - run(at + 64 * (i * 7 % 8 % (i + 1 < 8 ? i + 1 : 8)), 0);
    }
    printf("often %ld\n", sum);
}

/* Data beside code. */
static void mixed(uint8_t *at)
{
    static const uint8_t code[] = { 0xff, 0x05, 0xfa, 0, 0, 0, 0x8b, 0x05, 0xf4, 0, 0, 0, 0xc3 };
    int last = 0;
    memcpy(at, code, sizeof code); /* inc [rip + 250]; mov eax, [the same] */
    for (int i = 0; i < 5000; i++)
        last = run(at, 0);
    printf("mixed %d\n", last);
}

static void by_kernel(uint8_t *at)
{
    uint8_t bytes[16];
    int ends[2];
    long sum = 0;
    if (pipe(ends) != 0)
        exit(1);
    for (int i = 0; i < 40; i++) {
        size_t n = put_return(bytes, 3 * i);
        put_return(at + PAGE, 1);
        sum += run(at + PAGE, 0);
        if (write(ends[1], bytes, n) != (ssize_t)n || read(ends[0], at + PAGE, n) != (ssize_t)n)
            puts("read failed");
        sum += run(at + PAGE, 0);
        n = put_return(bytes, 5 * i);
        struct iovec part[2] = { { at + PAGE, 2 }, { at + PAGE + 2, n - 2 } };
        if (write(ends[1], bytes, n) != (ssize_t)n || readv(ends[0], part, 2) != (ssize_t)n)
            puts("readv failed");
        sum += run(at + PAGE, 0);
    }
    printf("by the kernel %ld\n", sum);
    close(ends[0]);
    close(ends[1]);
}

static uint8_t *shared_code;
static volatile int wanted, done;

static void *patcher(void *argument)
{
    (void)argument;
    for (int i = 1; i <= 300; i++) {
        while (__atomic_load_n(&wanted, __ATOMIC_ACQUIRE) != i)
            sched_yield();
        int value = i * 3;
        memcpy(shared_code + 1, &value, 4);
        __atomic_store_n(&done, i, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void from_a_thread(uint8_t *at)
{
    pthread_t thread;
    long sum = 0;
    shared_code = at;
    put_return(at, 0);
    pthread_create(&thread, NULL, patcher, NULL);
    for (int i = 1; i <= 300; i++) {
        sum += run(at, 0);
        __atomic_store_n(&wanted, i, __ATOMIC_RELEASE);
        while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) != i)
            sched_yield();
        sum += run(at, 0);
    }
    pthread_join(thread, NULL);
    printf("from a thread %ld\n", sum);
}

/* Four threads, each with code of its own in the same page. */
static void *writer(void *argument)
{
    uint8_t *at = argument;
    long sum = 0;
    for (int i = 0; i < 3000; i++) {
        put_return(at, i);
        sum += run(at, 0);
    }
    return (void *)sum;
}

static void one_page_four_threads(uint8_t *at)
{
    pthread_t thread[4];
    long sum = 0;
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, writer, at + 512 * i);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(thread[i], &result);
        sum += (long)result;
    }
    printf("four threads %ld\n", sum);
}

static void toggled(uint8_t *at)
{
    long sum = 0;
    for (int i = 0; i < 50; i++) {
        put_return(at, i);
        sum += run(at, 0); /* writable and executable */
        mprotect(at, PAGE, PROT_READ | PROT_EXEC);
        sum += run(at, 0);
        mprotect(at, PAGE, PROT_READ | PROT_WRITE);
        put_return(at, 2 * i);
        mprotect(at, PAGE, RWX);
        sum += run(at, 0);
    }
    printf("toggled %ld\n", sum);
}

/* The code writes to its other mapping. */
static void dual(void)
{
    int fd = memfd_create("dual", 0);
    if (ftruncate(fd, PAGE) != 0)
        exit(1);
    uint8_t *data = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (int flags = MAP_SHARED; flags <= MAP_PRIVATE; flags++) {
        uint8_t *code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, flags, fd, 0);
        static const uint8_t bytes[] = { 0x89, 0x3e, 0xb8, 0, 0, 0, 0, 0xc3 };
        long sum = 0;
        memcpy(data, bytes, sizeof bytes); /* mov [rsi], edi; mov eax, N; ret */
        for (int i = 0; i < 100; i++) {
            int result;
            __asm__ volatile("call *%3"
                             : "=a"(result)
                             : "D"(i), "S"(data + 3), "r"(code)
                             : "memory");
            sum += result * (i + 1L);
        }
        printf("dual %ld\n", sum);
    }
}

static void with_segv_blocked(uint8_t *at)
{
    sigset_t all, old, now;
    long sum = 0;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    for (int i = 0; i < 10; i++) {
        put_return(at, i);
        sum += run(at, 0);
    }
    sigprocmask(SIG_SETMASK, &old, &now);
    printf("blocked %ld %d %d\n", sum, sigismember(&now, SIGSEGV), sigismember(&old, SIGSEGV));
}

static volatile int handled;

static void on_segv(int signal)
{
    handled += signal;
}

static void sent_while_blocked(void)
{
    sigset_t one;
    signal(SIGSEGV, on_segv);
    sigemptyset(&one);
    sigaddset(&one, SIGSEGV);
    sigprocmask(SIG_BLOCK, &one, NULL);
    raise(SIGSEGV);
    printf("sent %d", handled);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    printf(" %d\n", handled);
    signal(SIGSEGV, SIG_IGN);
    raise(SIGSEGV);
    signal(SIGSEGV, SIG_DFL);
    printf("ignored %d\n", handled);
}

static void in_a_child(uint8_t *at)
{
    put_return(at, 1);
    int before = run(at, 0);
    fflush(stdout);
    if (fork() == 0) {
        put_return(at, 2);
        printf("child %d\n", before + run(at, 0));
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    printf("parent %d\n", before + run(at, 0));
}

/* As compilers put it there for a nested function. */
static void on_the_stack(void)
{
    uint8_t here[64];
    long sum = 0;
    uintptr_t page = (uintptr_t)here & -(uintptr_t)PAGE;
    mprotect((void *)page, 2 * PAGE, RWX);
    for (int i = 0; i < 100; i++) {
        put_return(here, i);
        sum += run(here, 0);
    }
    raise(SIGURG);
    printf("on the stack %ld\n", sum);
}

/* /proc/self/maps says what the program asked for. */
static void shown(uint8_t *at)
{
    char line[512], access[8] = "";
    unsigned long start, end;
    put_return(at + PAGE, 9);
    int result = run(at + PAGE, 0);
    FILE *file = fopen("/proc/self/maps", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%lx-%lx %7s", &start, &end, access) == 3 &&
            start <= (unsigned long)at + PAGE && end > (unsigned long)at + PAGE)
            break;
    if (file != NULL)
        fclose(file);
    put_return(at + PAGE, 8);
    printf("shown %s %d\n", access, result + run(at + PAGE, 0));
}

int main(void)
{
    shown(new_pages(3, RWX));
    own_next_instruction(new_pages(1, RWX));
    own_block_by_copy(new_pages(1, RWX));
    own_loop(new_pages(1, RWX));
    own_loop(new_pages(2, RWX) + PAGE - 5);
    often(new_pages(1, RWX));
    mixed(new_pages(1, RWX));
    by_kernel(new_pages(2, RWX));
    from_a_thread(new_pages(1, RWX));
    one_page_four_threads(new_pages(1, RWX));
    toggled(new_pages(1, RWX));
    dual();
    with_segv_blocked(new_pages(1, RWX));
    sent_while_blocked();
    in_a_child(new_pages(1, RWX));
    on_the_stack();
    return 0;
}

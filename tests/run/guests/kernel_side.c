/*
 * kernel_side.c: what the kernel does to memory beside system calls that wait: pages that another
 * thread fills in (userfaultfd), and reads and writes through rings (io_uring).
 *
 * Where the kernel refuses one of them, nothing is printed of it.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 32, ENTRIES = 8 };

/* ---- userfaultfd
 * --------------------------------------------------------------------------------- */

static int faults;
static volatile int filled, ticks;

static void tick(int signal)
{
    ticks++;
}

static void *fill_in(void *argument)
{
    static uint8_t page[PAGE] __attribute__((aligned(PAGE)));
    char *start = argument;
    struct uffd_msg message;
    while (filled < PAGES && read(faults, &message, sizeof message) == sizeof message) {
        uint64_t at = message.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
        memset(page, (int)((at - (uint64_t)start) / PAGE), PAGE);
        struct uffdio_copy copy = { at, (uint64_t)page, PAGE, 0, 0 };
        usleep(500);
        if (ioctl(faults, UFFDIO_COPY, &copy) == 0)
            filled++;
    }
    return NULL;
}

static int open_faults(void)
{
    struct uffdio_api api = { UFFD_API, 0, 0 };
    faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (faults < 0)
        faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    return faults >= 0 && ioctl(faults, UFFDIO_API, &api) == 0;
}

/* Loads, stores, string instructions and the kernel meet pages that are not there. */
static void pages_by_hand(void)
{
    pthread_t thread;
    int fd[2];
    long sum = 0;
    char *start =
        mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register where = { { (uint64_t)start, PAGES * PAGE },
                                     UFFDIO_REGISTER_MODE_MISSING,
                                     0 };
    struct itimerval timer = { { 0, 2000 }, { 0, 2000 } }, none = { { 0, 0 }, { 0, 0 } };
    if (!open_faults() || ioctl(faults, UFFDIO_REGISTER, &where) != 0)
        return;
    signal(SIGALRM, tick);
    pthread_create(&thread, NULL, fill_in, start);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int i = 0; i < PAGES / 2; i++) {
        if (i % 2 != 0)
            start[i * PAGE + 1] = 100;
        sum += start[i * PAGE] + start[i * PAGE + 1];
    }
    char copied[2 * PAGE];
    memcpy(copied, start + PAGES / 2 * PAGE + 100, sizeof copied);
    for (size_t i = 0; i < sizeof copied; i++)
        sum += copied[i];
    setitimer(ITIMER_REAL, &none, NULL);
    printf("filled in: %ld\n", sum);
    if (pipe(fd) != 0)
        return;
    for (int i = PAGES / 2 + 3; i < PAGES; i++) {
        char byte = 0;
        if (i % 2 == 0 && write(fd[1], start + i * PAGE, 1) == 1 && read(fd[0], &byte, 1) == 1)
            sum += byte;
        else if (i % 2 != 0 && write(fd[1], "x", 1) == 1 && read(fd[0], start + i * PAGE, 1) == 1)
            sum += start[i * PAGE] + start[i * PAGE + 1];
    }
    pthread_join(thread, NULL);
    printf("and for the kernel: %ld, %d pages\n", sum, filled);
    close(faults);
}

/* ---- io_uring
 * ------------------------------------------------------------------------------------ */

typedef struct Ring {
    int fd;
    struct io_uring_params about;
    uint8_t *rings;
    struct io_uring_sqe *sqe;
    uint32_t tail;
} Ring;

static int ring_open(Ring *ring)
{
    memset(ring, 0, sizeof *ring);
    ring->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &ring->about);
    if (ring->fd < 0)
        return 0;
    size_t size = ring->about.cq_off.cqes + ring->about.cq_entries * sizeof(struct io_uring_cqe);
    ring->rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd,
                       IORING_OFF_SQ_RING);
    ring->sqe = mmap(NULL, ENTRIES * sizeof *ring->sqe, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
    return ring->rings != MAP_FAILED && ring->sqe != MAP_FAILED;
}

static uint32_t *ring_word(const Ring *ring, uint32_t offset)
{
    return (uint32_t *)(ring->rings + offset);
}

static struct io_uring_sqe *ring_next(Ring *ring, int operation, int fd, void *buffer,
                                      unsigned size)
{
    uint32_t i = ring->tail & *ring_word(ring, ring->about.sq_off.ring_mask);
    struct io_uring_sqe *sqe = &ring->sqe[i];
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = (uint8_t)operation;
    sqe->fd = fd;
    sqe->addr = (uint64_t)buffer;
    sqe->len = size;
    sqe->user_data = (uint64_t)operation;
    ring_word(ring, ring->about.sq_off.array)[i] = i;
    ring->tail++;
    return sqe;
}

/* Submits all, waits for all; the sum of the results by kind. */
static long ring_run(Ring *ring, unsigned n)
{
    long sum = 0;
    __atomic_store_n(ring_word(ring, ring->about.sq_off.tail), ring->tail, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring->fd, n, n, IORING_ENTER_GETEVENTS, NULL, 0) != (long)n)
        return -1000;
    uint32_t *head = ring_word(ring, ring->about.cq_off.head);
    uint32_t mask = *ring_word(ring, ring->about.cq_off.ring_mask);
    struct io_uring_cqe *cqe = (struct io_uring_cqe *)(ring->rings + ring->about.cq_off.cqes);
    uint32_t tail = __atomic_load_n(ring_word(ring, ring->about.cq_off.tail), __ATOMIC_ACQUIRE);
    for (uint32_t at = *head; at != tail; at++)
        sum += cqe[at & mask].res;
    __atomic_store_n(head, tail, __ATOMIC_RELEASE);
    return sum;
}

static void rings(void)
{
    Ring ring;
    int fd[2];
    char out[100], in[100] = "";
    if (!ring_open(&ring) || pipe(fd) != 0)
        return;
    for (int i = 0; i < 100; i++)
        out[i] = (char)(i + 1);
    ring_next(&ring, IORING_OP_NOP, -1, NULL, 0);
    printf("nothing: %ld\n", ring_run(&ring, 1));
    ring_next(&ring, IORING_OP_WRITE, fd[1], out, 60)->flags = IOSQE_IO_LINK;
    ring_next(&ring, IORING_OP_WRITE, fd[1], out + 60, 40)->flags = IOSQE_IO_LINK;
    ring_next(&ring, IORING_OP_READ, fd[0], in, 100);
    long sum = ring_run(&ring, 3);
    printf("written and read: %ld %d\n", sum, memcmp(in, out, sizeof in) == 0);
    struct __kernel_timespec soon = { 0, 20000000 };
    ring_next(&ring, IORING_OP_TIMEOUT, -1, &soon, 1);
    ring_next(&ring, IORING_OP_READ, fd[0], in, 1);
    if (write(fd[1], "y", 1) != 1)
        return;
    sum = ring_run(&ring, 2);
    printf("with a time: %d %c\n", sum == 1 || sum == 1 - ETIME, in[0]);
    /* Text of the program's own is what a descriptor may read from, too. */
    ring_next(&ring, IORING_OP_WRITE, fd[1], "a constant", 10);
    sum = ring_run(&ring, 1);
    printf("a constant: %ld %zd %.10s\n", sum, read(fd[0], in, 10), in);
    close(ring.fd);
}

int main(void)
{
    pages_by_hand();
    rings();
    return 0;
}

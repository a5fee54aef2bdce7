/*
 * guard_calls.c: system calls of the guest that read from guarded text.
 *
 * The kernel knows nothing of guards. Where it would stop in the middle of a buffer and give a
 * short result, the buffer's pages are opened before. All other calls fail with EFAULT and have
 * changed nothing: what their arguments point to, at two removes at most, is opened page by page,
 * and the call is made again. What is opened counts as read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "profiler/guard.h"
#include "profiler/memory.h"

#include <asm/unistd.h>

enum {
    WORD = sizeof(uint64_t),
    N_ARGUMENTS = 6,
    MOST_VECTORS = 1024, /* UIO_MAXIOV */
    MOST_TRIES = 64,     /* pages of one argument that are opened one after the other */
    NEAR_PAGES = 2,      /* of what is pointed to from memory */
    FIRST_WORDS = 512,
    SECOND_WORDS = 16,
};

typedef enum BufferKind { BUFFER_PLAIN, BUFFER_VECTOR, BUFFER_MESSAGE, BUFFER_MESSAGES } BufferKind;

typedef struct BufferCall {
    int number;
    BufferKind kind; /* argument 1 is the buffer, vector or message; 2 its size or number */
} BufferCall;

static const BufferCall buffer_calls[] = {
    { __NR_write, BUFFER_PLAIN },       { __NR_pwrite64, BUFFER_PLAIN },
    { __NR_sendto, BUFFER_PLAIN },      { __NR_writev, BUFFER_VECTOR },
    { __NR_pwritev, BUFFER_VECTOR },    { __NR_pwritev2, BUFFER_VECTOR },
    { __NR_vmsplice, BUFFER_VECTOR },   { __NR_sendmsg, BUFFER_MESSAGE },
    { __NR_sendmmsg, BUFFER_MESSAGES },
};

/* struct iovec and the words of struct msghdr, struct mmsghdr. */
typedef struct IoVector {
    uint64_t base;
    uint64_t size;
} IoVector;
enum { MESSAGE_VECTOR = 2, MESSAGE_N = 3, MESSAGE_WORDS = 7, MESSAGES_STEP = 64 };

static void open_buffer(uint64_t start, uint64_t size)
{
    uint64_t end = start + size;
    if (end < start)
        return;
    for (uint64_t page = page_down(start); page < end; page += VM_PAGE)
        if (!guard_open(page) && !guard_covers(page))
            return;
}

static void open_vector(uint64_t vector, uint64_t n)
{
    for (uint64_t i = 0; i < n && i < MOST_VECTORS; i++) {
        IoVector one;
        if (!guest_read(&one, vector + i * sizeof one, sizeof one))
            return;
        open_buffer(one.base, one.size);
    }
}

static void open_messages(uint64_t message, uint64_t n)
{
    for (uint64_t i = 0; i < n && i < MOST_VECTORS; i++) {
        uint64_t words[MESSAGE_WORDS];
        if (!guest_read(words, message + i * MESSAGES_STEP, sizeof words))
            return;
        open_vector(words[MESSAGE_VECTOR], words[MESSAGE_N]);
    }
}

void guard_open_buffers(const Call *call)
{
    for (unsigned i = 0; i < sizeof buffer_calls / sizeof buffer_calls[0]; i++) {
        const BufferCall *row = &buffer_calls[i];
        if (row->number != call->number)
            continue;
        if (row->kind == BUFFER_PLAIN)
            open_buffer(call->arg[1], call->arg[2]);
        else if (row->kind == BUFFER_VECTOR)
            open_vector(call->arg[1], call->arg[2]);
        else
            open_messages(call->arg[1], row->kind == BUFFER_MESSAGE ? 1 : call->arg[2]);
    }
}

/* The first closed page of `most` from `address` on. */
static bool open_next(uint64_t address, unsigned most)
{
    for (unsigned i = 0; i < most; i++, address += VM_PAGE) {
        if (guard_open(address))
            return true;
        if (!guard_covers(address))
            return false;
    }
    return false;
}

/* Opens what the words at `from` point to, and what the words there do when `deeper`. */
static bool open_pointed(uint64_t from, unsigned n, bool deeper)
{
    bool opened = false;
    from &= ~(uint64_t)(WORD - 1);
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = from + i * WORD;
        if ((i == 0 || at % VM_PAGE == 0) && (guard_covers(at) || !guest_readable(at, WORD)))
            return opened;
        uint64_t word = *(const uint64_t *)at;
        if (guard_covers(word))
            opened |= open_next(word, NEAR_PAGES);
        else if (deeper && word >= VM_PAGE)
            opened |= open_pointed(word, SECOND_WORDS, false);
    }
    return opened;
}

bool guard_open_arguments(const Call *call, unsigned n)
{
    bool opened = false;
    if (n >= MOST_TRIES)
        return false;
    for (int i = 0; i < N_ARGUMENTS; i++) {
        if (guard_covers(call->arg[i]))
            opened |= open_next(call->arg[i], MOST_TRIES);
        else if (call->arg[i] >= VM_PAGE)
            opened |= open_pointed(call->arg[i], FIRST_WORDS, true);
    }
    return opened;
}

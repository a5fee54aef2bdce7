/*
 * The three address spaces, as three types that do not mix.
 *
 * Vaddr   link-time virtual address in the input image (run-time address minus load bias).
 * NewAddr link-time virtual address in the output image, inside the overlay.
 * FileOff byte offset in a file.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_ADDR_H
#define RESPIN_CORE_ADDR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Vaddr {
    uint64_t v;
} Vaddr;

typedef struct NewAddr {
    uint64_t v;
} NewAddr;

typedef struct FileOff {
    uint64_t v;
} FileOff;

/* No address: never a legal link-time address of an instruction. */
#define VADDR_NONE ((Vaddr){ UINT64_MAX })

static inline Vaddr vaddr(uint64_t value)
{
    return (Vaddr){ value };
}

static inline Vaddr vaddr_add(Vaddr base, uint64_t delta)
{
    return (Vaddr){ base.v + delta };
}

static inline bool vaddr_equal(Vaddr left, Vaddr right)
{
    return left.v == right.v;
}

static inline bool vaddr_is_none(Vaddr addr)
{
    return addr.v == UINT64_MAX;
}

#endif

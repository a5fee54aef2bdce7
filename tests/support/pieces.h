/*
 * pieces.h: encodings that random code is made of.
 *
 * Memory operands lie at RBX, R13 and RSP, 64 bytes at most; RIP-relative ones are to be pointed
 * somewhere.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_PIECES_H
#define RESPIN_TESTS_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Piece {
    uint8_t size;
    uint8_t bytes[15];
    uint16_t undefined; /* RFLAGS bits that it leaves undefined */
    const char *text;
} Piece;

extern const Piece pieces[];
extern const size_t n_pieces;

/* What it leaves undefined is defined again behind it. */
extern const size_t piece_cmp;
/* Its last four bytes are a distance. */
bool piece_is_rip_relative(const Piece *piece);
/* Goes only behind the piece before it. */
bool piece_is_tail(const Piece *piece);

#endif

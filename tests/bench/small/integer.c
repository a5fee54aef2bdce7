/*
 * Integer work in loops: a sieve, matrix products modulo a prime, Collatz walks, a bit-counting
 * permutation. About half a second native; prints one sum.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIEVE = 2000000, ORDER = 96, MODULUS = 1000003 };

static uint8_t composite[SIEVE];
static uint32_t left[ORDER][ORDER], right[ORDER][ORDER], product[ORDER][ORDER];

static uint32_t sieve(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < SIEVE; i++)
        composite[i] = 0;
    for (uint32_t i = 2; i < SIEVE; i++) {
        if (composite[i])
            continue;
        n++;
        for (uint64_t j = (uint64_t)i * i; j < SIEVE; j += i)
            composite[j] = 1;
    }
    return n;
}

static uint32_t multiply(uint32_t seed)
{
    for (uint32_t i = 0; i < ORDER; i++)
        for (uint32_t j = 0; j < ORDER; j++) {
            left[i][j] = (i * seed + j) % MODULUS;
            right[i][j] = (j * seed + i) % MODULUS;
        }
    for (uint32_t i = 0; i < ORDER; i++)
        for (uint32_t j = 0; j < ORDER; j++) {
            uint64_t sum = 0;
            for (uint32_t k = 0; k < ORDER; k++)
                sum += (uint64_t)left[i][k] * right[k][j];
            product[i][j] = (uint32_t)(sum % MODULUS);
        }
    return product[seed % ORDER][ORDER - 1];
}

static uint32_t collatz(uint32_t to)
{
    uint32_t longest = 0;
    for (uint32_t i = 1; i < to; i++) {
        uint64_t n = i;
        uint32_t steps = 0;
        for (; n != 1; steps++)
            n = n & 1 ? 3 * n + 1 : n >> 1;
        if (steps > longest)
            longest = steps;
    }
    return longest;
}

static uint32_t queens(uint32_t all, uint32_t columns, uint32_t down, uint32_t up)
{
    uint32_t n = 0;
    if (columns == all)
        return 1;
    for (uint32_t free = all & ~(columns | down | up); free != 0;) {
        uint32_t bit = free & -free;
        free ^= bit;
        n += queens(all, columns | bit, (down | bit) << 1, (up | bit) >> 1);
    }
    return n;
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 14;
    uint64_t sum = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        sum += sieve() + collatz(60000);
        for (uint32_t i = 1; i < 12; i++)
            sum += multiply(round * 12 + i);
        sum += queens((1u << 9) - 1, 0, 0, 0);
    }
    printf("%lu\n", (unsigned long)sum);
    return 0;
}

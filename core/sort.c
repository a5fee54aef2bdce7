/*
 * sort.c: radix sort of keys, which carry the places of their records along.
 *
 *     records   900c  9000  9008        what is sorted   |key - least | place|
 *               0     1     2                              0 1, 8 2, c 0   ─►  records 1 2 0
 *
 * Addresses of one module differ in some 27 bits: three passes over 8 bytes a record, against
 * 20 comparisons by a function, each of which moves the record (of 300,000 edges: 6 ms for 60). A
 * key and a place that do not fit 64 bits together, and a few records, are left to qsort. What is
 * nearly sorted already, as what is made in the order of addresses is, stays where it is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/sort.h"

#include "core/arena.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    FEW = 64, /* records that are not worth tables */
    DIGIT = 11,
    DIGITS = 1 << DIGIT,
};

/* Bits that numbers up to `most` need. */
static unsigned bits_of(uint64_t most)
{
    return most == 0 ? 0 : 64 - (unsigned)__builtin_clzll(most);
}

/* Sorts by the bits from `low` to below `high`; the result is in one of the two. */
static uint64_t *radix(uint64_t *numbers, uint64_t *other, size_t n, unsigned low, unsigned high)
{
    for (unsigned shift = low; shift < high; shift += DIGIT) {
        size_t starts[DIGITS + 1] = { 0 };
        uint64_t mask = high - shift < DIGIT ? (UINT64_C(1) << (high - shift)) - 1 : DIGITS - 1;
        for (size_t i = 0; i < n; i++)
            starts[(numbers[i] >> shift & mask) + 1]++;
        for (size_t i = 1; i < DIGITS; i++)
            starts[i] += starts[i - 1];
        for (size_t i = 0; i < n; i++)
            other[starts[numbers[i] >> shift & mask]++] = numbers[i];
        uint64_t *sorted = other;
        other = numbers;
        numbers = sorted;
    }
    return numbers;
}

static int order_numbers(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static bool numbers_in_order(const uint64_t *numbers, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (numbers[i - 1] > numbers[i])
            return false;
    return true;
}

void sort_numbers(uint64_t *numbers, size_t n)
{
    if (n < 2 || numbers_in_order(numbers, n))
        return;
    if (n < FEW) {
        qsort(numbers, n, sizeof *numbers, order_numbers);
        return;
    }
    uint64_t all = 0;
    for (size_t i = 1; i < n; i++)
        all |= numbers[i] ^ numbers[0];
    Arena *arena = arena_new();
    const uint64_t *sorted = radix(numbers, arena_many(arena, uint64_t, n), n, 0, bits_of(all));
    if (sorted != numbers)
        memcpy(numbers, sorted, n * sizeof *numbers);
    arena_free(arena);
}

static bool records_in_order(const char *records, size_t n, size_t size, SortOrder *order)
{
    for (size_t i = 1; i < n; i++)
        if (order(records + (i - 1) * size, records + i * size) > 0)
            return false;
    return true;
}

/* The places of the records by their keys, or NULL: those take too many bits. */
static uint64_t *places_by_key(Arena *arena, const char *records, size_t n, size_t size,
                               SortKey *key)
{
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    uint64_t *places = arena_many(arena, uint64_t, n);
    unsigned place_bits = bits_of(n - 1);
    for (size_t i = 0; i < n; i++) {
        places[i] = key(records + i * size);
        least = places[i] < least ? places[i] : least;
        most = places[i] > most ? places[i] : most;
    }
    unsigned high = place_bits + bits_of(most - least);
    if (high > 64)
        return NULL;
    for (size_t i = 0; i < n; i++)
        places[i] = (places[i] - least) << place_bits | i;
    places = radix(places, arena_many(arena, uint64_t, n), n, place_bits, high);
    for (size_t i = 0; i < n; i++)
        places[i] &= (UINT64_C(1) << place_bits) - 1;
    return places;
}

/* The records in their places, in new memory: cycles of moves in place would wait for memory at
 * every step. Inline: a copy of a constant size is a few moves. */
static inline void gather(const char *records, size_t n, size_t size, const uint64_t *places,
                          char *out)
{
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * size, records + places[i] * size, size);
}

static void permute(Arena *arena, char *records, size_t n, size_t size, const uint64_t *places)
{
    char *sorted = arena_array(arena, n, size);
    if (size == 16)
        gather(records, n, 16, places, sorted);
    else if (size == 32)
        gather(records, n, 32, places, sorted);
    else
        gather(records, n, size, places, sorted);
    memcpy(records, sorted, n * size);
}

/* Of records that are sorted by their key: those of one key by the rest. */
static void sort_equal_keys(char *records, size_t n, size_t size, SortKey *key, SortOrder *order)
{
    for (size_t from = 0, end; from < n; from = end) {
        uint64_t value = key(records + from * size);
        for (end = from + 1; end < n && key(records + end * size) == value; end++)
            ;
        if (end - from > 1 && !records_in_order(records + from * size, end - from, size, order))
            qsort(records + from * size, end - from, size, order);
    }
}

/* Records that are nearly sorted, in a few moves of each. False: they are not, and stand in some
 * order. */
static bool insert_all(char *records, size_t n, size_t size, SortOrder *order)
{
    char kept[SORT_RECORD_MOST];
    size_t moves = 4 * n;
    for (size_t i = 1; i < n; i++) {
        size_t at = i;
        while (at > 0 && order(records + (at - 1) * size, records + i * size) > 0)
            at--;
        if (i - at > moves)
            return false;
        moves -= i - at;
        if (at == i)
            continue;
        memcpy(kept, records + i * size, size);
        memmove(records + (at + 1) * size, records + at * size, (i - at) * size);
        memcpy(records + at * size, kept, size);
    }
    return true;
}

void sort_records(void *records, size_t n, size_t size, SortKey *key, SortOrder *order)
{
    assert(size <= SORT_RECORD_MOST);
    if (n < 2 || insert_all(records, n, size, order))
        return;
    Arena *arena = n < FEW ? NULL : arena_new();
    uint64_t *places = n < FEW ? NULL : places_by_key(arena, records, n, size, key);
    if (places == NULL) {
        qsort(records, n, size, order);
    } else {
        permute(arena, records, n, size, places);
        sort_equal_keys(records, n, size, key, order);
    }
    arena_free(arena);
}

void sort_join(void *records, size_t n_first, size_t n, size_t size, SortOrder *order)
{
    char *into = records;
    size_t n_second = n - n_first;
    if (n_first == 0 || n_second == 0)
        return;
    Arena *arena = arena_new();
    const char *second = arena_copy(arena, into + n_first * size, n_second * size);
    while (n_second > 0) {
        bool first =
            n_first > 0 && order(into + (n_first - 1) * size, second + (n_second - 1) * size) > 0;
        const char *last = first ? into + --n_first * size : second + --n_second * size;
        memcpy(into + (n_first + n_second) * size, last, size);
    }
    arena_free(arena);
}

/*
 * Sorting large tables by a number, an address most often: in steps, not in comparisons.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_SORT_H
#define RESPIN_CORE_SORT_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t SortKey(const void *record);
typedef int SortOrder(const void *left, const void *right);

enum { SORT_RECORD_MOST = 128 }; /* bytes of a record */

/*
 * As qsort: records that are equal come in any order.
 *
 * key:   the number by which `order` compares first.
 * order: the whole comparison; looked at where keys are equal.
 */
void sort_records(void *records, size_t n, size_t size, SortKey *key, SortOrder *order);

/* One sorted table of two: the first `n_first` records and the others. */
void sort_join(void *records, size_t n_first, size_t n, size_t size, SortOrder *order);

void sort_numbers(uint64_t *numbers, size_t n);

#endif

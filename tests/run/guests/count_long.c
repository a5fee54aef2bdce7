/*
 * Some ten million instructions in code of its own, libc hardly called: for comparing totals.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <stdio.h>

enum { SIZE = 4096 };

static uint32_t table[SIZE];
static double values[64];

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void sort(uint32_t *from, int n)
{
    for (int gap = n / 2; gap > 0; gap /= 2)
        for (int i = gap; i < n; i++) {
            uint32_t value = from[i];
            int j = i;
            for (; j >= gap && from[j - gap] > value; j -= gap)
                from[j] = from[j - gap];
            from[j] = value;
        }
}

static int ackermann(int m, int n)
{
    if (m == 0)
        return n + 1;
    return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

static uint32_t step(uint32_t kind, uint32_t value)
{
    switch (kind % 7) {
    case 0:
        return value * 3 + 1;
    case 1:
        return value ^ value >> 3;
    case 2:
        return value + (value << 5);
    case 3:
        return ~value;
    case 4:
        return value / 3;
    case 5:
        return (value << 7) | (value >> 25);
    }
    return value - 1;
}

static uint32_t (*const steps[])(uint32_t, uint32_t) = { step, step };

int main(void)
{
    uint32_t state = 1;
    uint32_t sum = 0;
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < SIZE; i++)
            table[i] = next(&state);
        sort(table, SIZE);
        for (int i = 0; i < SIZE; i++)
            sum = steps[i & 1](table[i], sum + table[i]);
    }
    for (int round = 0; round < 20000; round++)
        for (int i = 1; i < 64; i++)
            values[i] = values[i] * 0.5 + (double)(i * round % 17) / i;
    printf("%u %d %.9f\n", sum, ackermann(2, 300), values[63] + values[1]);
    return 0;
}

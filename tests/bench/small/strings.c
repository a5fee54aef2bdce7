/*
 * Strings and hashing: words are made, counted in a hash table, sorted, joined, searched, and the
 * text is compressed by a small LZ. About half a second native; prints one hash.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 4096, WORDS = 40000, WINDOW = 4096 };

typedef struct Word {
    struct Word *next;
    uint32_t count;
    char text[];
} Word;

static Word *buckets[BUCKETS];
static uint32_t state = 1;

static uint32_t random_below(uint32_t n)
{
    state = state * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(state >> 4) * n >> 28);
}

static uint32_t hash(const char *text, size_t len)
{
    uint32_t value = 2166136261u;
    for (size_t i = 0; i < len; i++)
        value = (value ^ (uint8_t)text[i]) * 16777619u;
    return value;
}

static void count_word(const char *text)
{
    size_t len = strlen(text);
    Word **at = &buckets[hash(text, len) % BUCKETS];
    for (; *at != NULL; at = &(*at)->next) {
        if (strcmp((*at)->text, text) == 0) {
            (*at)->count++;
            return;
        }
    }
    Word *word = malloc(sizeof *word + len + 1);
    word->next = NULL;
    word->count = 1;
    memcpy(word->text, text, len + 1);
    *at = word;
}

static void make_word(char *out)
{
    static const char *const parts[] = {
        "ka", "lo", "mi", "tor", "en", "s", "ra", "ul", "chi", "de"
    };
    uint32_t n = 1 + random_below(4);
    *out = '\0';
    for (uint32_t i = 0; i < n; i++)
        strcat(out, parts[random_below(10)]);
}

static int by_text(const void *left, const void *right)
{
    return strcmp((*(Word *const *)left)->text, (*(Word *const *)right)->text);
}

static char *join(size_t *len)
{
    size_t n = 0, cap = 1 << 20;
    Word **all = malloc(WORDS * sizeof *all);
    for (int i = 0; i < BUCKETS; i++)
        for (Word *word = buckets[i]; word != NULL; word = word->next)
            all[n++] = word;
    qsort(all, n, sizeof *all, by_text);
    char *text = malloc(cap);
    *len = 0;
    for (size_t i = 0; i < n && *len + 64 < cap; i++)
        *len += (size_t)snprintf(text + *len, 64, "%s=%u;", all[i]->text, all[i]->count);
    free(all);
    return text;
}

static size_t compress(const char *text, size_t len)
{
    static int32_t last[BUCKETS];
    size_t out = 0;
    for (int i = 0; i < BUCKETS; i++)
        last[i] = -1;
    for (size_t i = 0; i + 4 < len; out++) {
        uint32_t at = hash(text + i, 4) % BUCKETS;
        int32_t from = last[at];
        size_t same = 0;
        last[at] = (int32_t)i;
        while (from >= 0 && i - (size_t)from < WINDOW && i + same < len && same < 255 &&
               text[(size_t)from + same] == text[i + same])
            same++;
        i += same >= 4 ? same : 1;
    }
    return out;
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 60;
    uint32_t sum = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        char word[64];
        for (int i = 0; i < WORDS; i++) {
            make_word(word);
            count_word(word);
        }
        size_t len;
        char *text = join(&len);
        sum = sum * 31 + hash(text, len) + (uint32_t)compress(text, len);
        for (char *at = text; (at = strstr(at, "tor")) != NULL; at++)
            sum++;
        free(text);
    }
    printf("%u\n", sum);
    return 0;
}

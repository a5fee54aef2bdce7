/*
 * map_back OUTPUT < text: the text with every return address in the overlay of OUTPUT (a word
 * 0x…) replaced by the original's, and every other word as it is.
 *
 * A return address stands after a call, so the run of code that holds the call is what is looked
 * up.
 *
 * map_back OUTPUT N SEED: N overlay instructions picked at random, "new old" on each line.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/insn.h"
#include "rewriter/rewriter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Entry of the map that `addr` lies in; n: none. */
static uint32_t entry_of(const AddressMap *map, uint64_t addr)
{
    uint32_t low = 0;
    uint32_t high = map->n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (map->at[mid].v <= addr)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 ? low - 1 : map->n;
}

static uint64_t original_return(const AddressMap *map, uint64_t addr)
{
    uint32_t i = entry_of(map, addr - 1);
    if (i == map->n || vaddr_is_none(map->old[i]))
        return addr;
    return map->old[i].v + (addr - map->at[i].v);
}

static void replace_words(const AddressMap *map)
{
    char line[4096];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        for (char *at = line; *at != 0;) {
            char *end = at;
            size_t word = strcspn(at, " \n");
            uint64_t value = strtoull(at, &end, 16);
            if (word > 2 && end == at + word && at[1] == 'x')
                printf("0x%" PRIx64, original_return(map, value));
            else
                printf("%.*s", (int)word, at);
            at += word;
            if (*at != 0)
                putchar(*at++);
        }
    }
}

/* Bytes into entry `i` at which one of its instructions starts, the one nearest below `wanted`. */
static uint64_t instruction_start(const Image *output, const AddressMap *map, uint32_t i,
                                  uint64_t wanted)
{
    uint64_t at = 0;
    for (;;) {
        Insn insn;
        Vaddr new = vaddr(map->at[i].v + at);
        if (!insn_decode(image_bytes_from(output, new), new, &insn) || at + insn.size > wanted)
            return at;
        at += insn.size;
    }
}

static void pick(const Image *output, const AddressMap *map, unsigned count, uint64_t random)
{
    for (unsigned tries = 0; count > 0 && map->n > 1 && tries < 100000; tries++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t i = (uint32_t)((random >> 33) % (map->n - 1));
        uint64_t size = map->at[i + 1].v - map->at[i].v;
        if (vaddr_is_none(map->old[i]) || size == 0)
            continue;
        uint64_t at = instruction_start(output, map, i, (random >> 12) % size);
        printf("0x%" PRIx64 " 0x%" PRIx64 "\n", map->at[i].v + at, map->old[i].v + at);
        count--;
    }
}

int main(int argc, char **argv)
{
    Error err = { 0 };
    const Image *output;
    const AddressMap *map;
    if (argc != 2 && argc != 4)
        return 2;
    Arena *arena = arena_new();
    if (image_open(arena, argv[1], &output, &err) != ST_OK ||
        address_map_read(arena, output, &map, &err) != ST_OK || map == NULL) {
        fprintf(stderr, "map_back: %s\n", err.text);
        return 3;
    }
    if (argc == 4)
        pick(output, map, (unsigned)atoi(argv[2]), strtoull(argv[3], NULL, 0));
    else
        replace_words(map);
    arena_free(arena);
    return 0;
}

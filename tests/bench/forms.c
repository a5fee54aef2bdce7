/*
 * forms.c: how much of what a program executes has a handler, and what has none.
 *
 *     forms-share [PROFILE [N]]
 *
 * Reads a profile and the images that it names; without one, prints the first line only. Prints the
 * number of rows and forms of the table, the share of executed instructions that have a form in it,
 * and the N most executed mnemonics (default 20) that run in thunks. Counts are those of the
 * profile; generated code is left out.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/profile.h"
#include "profiler/fetch.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUTINES = (ROW_COUNT + SPECIAL_COUNT) * ROUTINES_OF_ROW };

typedef struct Sums {
    uint64_t handled, native, unread;
    bool used[ROUTINES]; /* forms that were executed */
    uint64_t by_mnemonic[ZYDIS_MNEMONIC_MAX_VALUE + 1];
} Sums;

static void add_insn(Sums *sums, const uint8_t *bytes, size_t size, uint64_t pc, uint64_t count)
{
    uint8_t room[FETCH_READS] = { 0 };
    GuestInsn insn;
    ZydisDecoder decoder;
    ZydisDecodedInstruction decoded;
    memcpy(room, bytes, size);
    if (fetch_insn(&insn, room, (unsigned)size, pc)) {
        sums->handled += count;
        sums->used[insn.routine] |= count != 0;
        return;
    }
    sums->native += count;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, bytes, size, &decoded)))
        sums->by_mnemonic[decoded.mnemonic] += count;
}

static void add_block(Sums *sums, const Image *image, const ProfileBlock *block)
{
    Bytes code;
    if (block->insn_sizes == NULL || !image_bytes_at(image, block->start, block->size, &code)) {
        sums->unread += block->count * block->n_insns;
        return;
    }
    size_t at = 0;
    for (uint32_t i = 0; i < block->n_insns && at + block->insn_sizes[i] <= code.len; i++) {
        add_insn(sums, code.data + at, block->insn_sizes[i], block->start.v + at, block->count);
        at += block->insn_sizes[i];
    }
}

static unsigned count_forms(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ROW_COUNT; i++)
        n += (unsigned)__builtin_popcount(fetch_facts[i].valid);
    return n;
}

/* Of the decoder's, those that a row or a special has. */
static unsigned count_mnemonics(void)
{
    static bool has[ZYDIS_MNEMONIC_MAX_VALUE + 1];
    unsigned n = 0;
    for (unsigned i = 0; i < ROW_COUNT + SPECIAL_COUNT; i++) {
        n += !has[fetch_facts[i].mnemonic];
        has[fetch_facts[i].mnemonic] = true;
    }
    return n;
}

static void print_table(void)
{
    unsigned has = count_mnemonics();
    printf("rows %u, forms with a handler %u, specials %u: %u mnemonics; by thunks: the other %u\n",
           (unsigned)ROW_COUNT, count_forms(), (unsigned)SPECIAL_COUNT, has,
           (unsigned)ZYDIS_MNEMONIC_MAX_VALUE - has);
}

static void print_shares(const Sums *sums, double all)
{
    unsigned forms = 0, mnemonics = 0;
    for (unsigned i = 0; i < ROUTINES; i++)
        forms += sums->used[i];
    for (unsigned i = 1; i <= ZYDIS_MNEMONIC_MAX_VALUE; i++)
        mnemonics += sums->by_mnemonic[i] != 0;
    printf("executed %.0f: %.2f%% by handlers (%u forms), %.2f%% by thunks (%u mnemonics)\n", all,
           100 * (double)sums->handled / all, forms, 100 * (double)sums->native / all, mnemonics);
    if (sums->unread != 0)
        printf("  not read: %.2f%%\n", 100 * (double)sums->unread / (all + (double)sums->unread));
}

static void print_most(const Sums *sums, unsigned n, double all)
{
    static bool printed[ZYDIS_MNEMONIC_MAX_VALUE + 1];
    for (unsigned i = 0; i < n; i++) {
        size_t best = 0;
        for (size_t m = 1; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
            if (!printed[m] && sums->by_mnemonic[m] > sums->by_mnemonic[best])
                best = m;
        }
        if (best == 0)
            return;
        printed[best] = true;
        printf("  %-16s %6.2f%%\n", ZydisMnemonicGetString((ZydisMnemonic)best),
               100 * (double)sums->by_mnemonic[best] / all);
    }
}

int main(int argc, char **argv)
{
    static Sums sums;
    const Profile *profile;
    Error err;
    Arena *arena = arena_new();
    fetch_init();
    print_table();
    if (argc < 2)
        return 0;
    if (profile_read(arena, argv[1], &profile, &err) != ST_OK)
        return fprintf(stderr, "usage: forms-share [PROFILE [N]]\n"), 2;
    for (uint32_t i = 0; i < profile->n_modules; i++) {
        const ProfileModule *module = &profile->modules[i];
        const Image *image;
        if (image_open(arena, module->path, &image, &err) != ST_OK)
            continue;
        for (uint32_t b = 0; b < module->n_blocks; b++)
            add_block(&sums, image, &module->blocks[b]);
    }
    double all = (double)(sums.handled + sums.native);
    print_shares(&sums, all);
    print_most(&sums, argc > 2 ? (unsigned)atoi(argv[2]) : 20, all);
    arena_free(arena);
    return 0;
}

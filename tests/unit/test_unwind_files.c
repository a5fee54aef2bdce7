/*
 * Every unwind entry and LSDA of large stock files, and their rows against readelf's.
 * A file that is not installed is left out. SPDX-License-Identifier: MIT
 */
#include "core/lsda.h"
#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct StockFile {
    const char *path;
    uint32_t min_fdes;
    uint32_t min_lsdas;
    uint32_t readelf_lines; /* how much of readelf's output is held against ours */
} StockFile;

#define LIB "/usr/lib/x86_64-linux-gnu/"
static const StockFile stock_files[] = {
    { LIB "libstdc++.so.6", 3000, 500, 200000 },
    { LIB "libc.so.6", 2000, 5, 200000 },
    { LIB "libLLVM-14.so.1", 80000, 0, 40000 },
    { LIB "libclang-cpp.so.14", 30000, 0, 20000 },
    { "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", 10000, 0, 40000 },
    { "/usr/bin/python3.11", 3000, 0, 100000 },
};
enum { N_STOCK = sizeof(stock_files) / sizeof(stock_files[0]) };

static const Image *open_stock(Arena *arena, const char *path)
{
    const Image *image;
    Error err;
    if (access(path, R_OK) != 0)
        return NULL;
    if (image_open(arena, path, &image, &err) != ST_OK)
        fail_msg("%s: %s", path, err.text);
    return image;
}

static const UnwindTable *read_table(Arena *arena, const Image *image)
{
    const UnwindTable *table;
    Error err;
    if (unwind_read(arena, image, &table, &err) != ST_OK)
        fail_msg("%s+0x%" PRIx64 ": %s", err.place.section, err.place.offset, err.text);
    return table;
}

/* Runs the rows of every entry; they start at the entry and go up. */
static void run_all_rows(const Image *image, const UnwindTable *table)
{
    Arena *scratch = arena_new();
    for (uint32_t i = 0; i < table->n_fdes; i++) {
        const Fde *fde = &table->fdes[i];
        UnwindRows rows;
        Error err;
        arena_reset(scratch);
        if (unwind_rows(scratch, image, table, fde, &rows, &err) != ST_OK)
            fail_msg("%s+0x%" PRIx64 ": %s", err.place.section, err.place.offset, err.text);
        assert_true(rows.n > 0 && vaddr_equal(rows.at[0], fde->start));
        for (uint32_t j = 1; j < rows.n; j++)
            assert_true(rows.at[j].v > rows.at[j - 1].v);
        assert_true(rows.at[rows.n - 1].v < fde->start.v + fde->size);
        if (i > 0)
            assert_true(fde->start.v >= table->fdes[i - 1].start.v);
    }
    arena_free(scratch);
}

static uint32_t read_all_lsdas(const Image *image, const UnwindTable *table)
{
    Arena *scratch = arena_new();
    uint32_t found = 0;
    for (uint32_t i = 0; i < table->n_fdes; i++) {
        const Lsda *lsda;
        Error err;
        if (vaddr_is_none(table->fdes[i].lsda))
            continue;
        arena_reset(scratch);
        if (lsda_read(scratch, image, &table->fdes[i], &lsda, &err) != ST_OK)
            fail_msg("%s+0x%" PRIx64 ": %s", err.place.section, err.place.offset, err.text);
        found++;
    }
    arena_free(scratch);
    return found;
}

static void reads_every_entry(void **state)
{
    (void)state;
    for (int i = 0; i < N_STOCK; i++) {
        Arena *arena = arena_new();
        const Image *image = open_stock(arena, stock_files[i].path);
        if (image != NULL) {
            const UnwindTable *table = read_table(arena, image);
            assert_true(table->n_fdes >= stock_files[i].min_fdes);
            run_all_rows(image, table);
            assert_true(read_all_lsdas(image, table) >= stock_files[i].min_lsdas);
            image_close(image);
        }
        arena_free(arena);
    }
}

/* The same entries are found through PT_GNU_EH_FRAME when there are no sections. */
static void reads_through_the_header(void **state)
{
    (void)state;
    Arena *arena = arena_new();
    const Image *image = open_stock(arena, stock_files[1].path);
    if (image != NULL) {
        Image bare = *image;
        bare.n_sections = 0;
        const UnwindTable *by_section = read_table(arena, image);
        const UnwindTable *by_header = read_table(arena, &bare);
        assert_int_equal(by_section->n_fdes, by_header->n_fdes);
        assert_true(vaddr_equal(by_section->addr, by_header->addr));
        image_close(image);
    }
    arena_free(arena);
}

/* readelf's columns: which DWARF register each is; -1 the end. */
enum { MAX_COLUMNS = 24 };

static const char *const reg_names[UNWIND_REGS] = { "rax", "rdx", "rcx", "rbx", "rsi", "rdi",
                                                    "rbp", "rsp", "r8",  "r9",  "r10", "r11",
                                                    "r12", "r13", "r14", "r15", "ra" };

static int column_reg(const char *name)
{
    for (int reg = 0; reg < UNWIND_REGS; reg++)
        if (strcmp(name, reg_names[reg]) == 0)
            return reg;
    fail_msg("readelf names a column \"%s\"", name);
    return -1;
}

static void rule_text(const UnwindRule *rule, char *out, size_t size)
{
    switch (rule->kind) {
    case RULE_NONE:
    case RULE_UNDEFINED:
        snprintf(out, size, "u");
        break;
    case RULE_SAME:
        snprintf(out, size, "s");
        break;
    case RULE_OFFSET:
        snprintf(out, size, "c%+lld", (long long)rule->value);
        break;
    case RULE_VAL_OFFSET:
        snprintf(out, size, "v%+lld", (long long)rule->value);
        break;
    case RULE_REG:
        snprintf(out, size, "r%d", (int)rule->value);
        break;
    case RULE_CFA_REG:
        snprintf(out, size, "%s%+lld", reg_names[rule->reg], (long long)rule->value);
        break;
    case RULE_EXPR:
        snprintf(out, size, "exp");
        break;
    default:
        snprintf(out, size, "vexp");
        break;
    }
}

/* Reader of readelf --debug-dump=frames-interp. */
typedef struct Frames {
    const Image *image;
    const UnwindTable *table;
    Arena *scratch;
    UnwindRows rows;
    const Fde *fde; /* NULL: in a CIE */
    int columns[MAX_COLUMNS];
    int n_columns;
    char last[512]; /* row line not yet compared: a later one for the same place replaces it */
    uint32_t compared;
} Frames;

/* The next word; the name in brackets that follows a register's number is passed over. */
static char *next_word(char **save)
{
    char *word = strtok_r(NULL, " \n", save);
    return word != NULL && word[0] == '(' ? strtok_r(NULL, " \n", save) : word;
}

static void compare_row(Frames *frames, char *line)
{
    char *save = NULL;
    char *word = strtok_r(line, " \n", &save);
    Vaddr at = vaddr(strtoull(word, NULL, 16));
    if (at.v >= frames->fde->start.v + frames->fde->size)
        return;
    const UnwindRow *row = &frames->rows.rows[unwind_row_at(&frames->rows, at)];
    char want[64];
    word = next_word(&save);
    rule_text(&row->cfa, want, sizeof(want));
    if (row->cfa.kind == RULE_VAL_EXPR)
        snprintf(want, sizeof(want), "exp");
    assert_string_equal(word, want);
    for (int i = 0; i < frames->n_columns; i++) {
        word = next_word(&save);
        rule_text(&row->regs[frames->columns[i]], want, sizeof(want));
        assert_non_null(word);
        assert_string_equal(word, want);
    }
    frames->compared++;
}

static void flush_row(Frames *frames)
{
    if (frames->last[0] != 0 && frames->fde != NULL)
        compare_row(frames, frames->last);
    frames->last[0] = 0;
}

static void start_fde(Frames *frames, const char *line)
{
    Error err;
    const char *pc = strstr(line, " pc=");
    frames->fde = NULL;
    if (pc == NULL)
        return;
    Vaddr start = vaddr(strtoull(pc + 4, NULL, 16));
    frames->fde = unwind_fde_at(frames->table, start);
    assert_non_null(frames->fde);
    arena_reset(frames->scratch);
    assert_int_equal(unwind_rows(frames->scratch, frames->image, frames->table, frames->fde,
                                 &frames->rows, &err),
                     ST_OK);
}

static void start_columns(Frames *frames, char *line)
{
    char *save = NULL;
    frames->n_columns = 0;
    strtok_r(line, " \n", &save); /* LOC */
    strtok_r(NULL, " \n", &save); /* CFA */
    for (char *word = strtok_r(NULL, " \n", &save); word != NULL;
         word = strtok_r(NULL, " \n", &save)) {
        assert_true(frames->n_columns < MAX_COLUMNS);
        frames->columns[frames->n_columns++] = column_reg(word);
    }
}

static void take_line(Frames *frames, char *line)
{
    bool is_row = strlen(line) > 18 && line[16] == ' ' && strspn(line, "0123456789abcdef") == 16;
    if (strstr(line, " FDE ") != NULL || strstr(line, " CIE ") != NULL) {
        flush_row(frames);
        start_fde(frames, line);
    } else if (strncmp(line, "   LOC", 6) == 0) {
        start_columns(frames, line);
    } else if (is_row && frames->fde != NULL) {
        if (strncmp(frames->last, line, 16) != 0)
            flush_row(frames);
        snprintf(frames->last, sizeof(frames->last), "%s", line);
    }
}

static uint32_t compare_with_readelf(const StockFile *stock, const Image *image)
{
    char command[512];
    char line[512];
    Arena *arena = arena_new();
    Frames frames = { .image = image, .scratch = arena_new() };
    frames.table = read_table(arena, image);
    snprintf(command, sizeof(command),
             "readelf --debug-dump=frames-interp %s 2>/dev/null | head -n %u", stock->path,
             stock->readelf_lines);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    while (fgets(line, sizeof(line), pipe) != NULL)
        take_line(&frames, line);
    pclose(pipe);
    arena_free(frames.scratch);
    arena_free(arena);
    return frames.compared;
}

static void rows_equal_readelfs(void **state)
{
    (void)state;
    if (system("command -v readelf >/dev/null 2>&1") != 0)
        return;
    for (int i = 0; i < N_STOCK; i++) {
        Arena *arena = arena_new();
        const Image *image = open_stock(arena, stock_files[i].path);
        if (image != NULL) {
            uint32_t compared = compare_with_readelf(&stock_files[i], image);
            print_message("%s: %u rows\n", stock_files[i].path, compared);
            assert_true(compared > 5000);
            image_close(image);
        }
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_entry),
        cmocka_unit_test(reads_through_the_header),
        cmocka_unit_test(rows_equal_readelfs),
    };
    return cmocka_run_group_tests_name("unwind-files", tests, NULL, NULL);
}

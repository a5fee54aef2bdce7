/*
 * compare.c: `respin compare BEFORE AFTER`: same results? how much faster?
 *
 *     check   each once, not counted: output, exit status, warm caches
 *     pairs   BA AB BA AB …   alternating, so that a drift of the machine meets both alike
 *     model   each once under the process VM: figures without noise
 *
 * The ratio is that of the pair (before/after, above 1: faster), the answer its median: a run that
 * the machine disturbed spoils one pair and no more. Intervals are bootstrapped because timing
 * noise has a long tail on one side.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/compare.h"

#include "cli/progress.h"
#include "cli/words.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEFAULT_PAIRS = 41, MAX_PAIRS = 100000, BOOTSTRAP_SEED = 1 };

/*
 * Slower: the whole intervals of wall and user time lie below this. Nearer to 1 is noise, and
 * either time alone may be: the kernel splits user from system time by sampling.
 */
static const double slower_below = 0.99;
static const double short_run = 0.1; /* seconds: below, the cost of starting is what is measured */

typedef struct CompareOptions {
    const char *html; /* file; NULL: none */
    uint64_t pairs;
    uint64_t cpu; /* UINT64_MAX: the last one that we may use */
    const char *input;
    bool no_model;
} CompareOptions;

static const char *const side_names[SIDES] = { "before", "after" };

/* ---- setting up ----------------------------------------------------------------------------- */

static Status read_input(const char *path, int *out, Error *err)
{
    Place place = { path, NULL, PLACE_NO_OFFSET };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(err, ST_IO, place, "cannot open: %s", strerror(errno));
    *out = run_read_all(fd);
    int error = errno;
    close(fd);
    if (*out < 0)
        return FAIL(err, ST_IO, place, "cannot read: %s", strerror(error));
    return ST_OK;
}

/* Our own standard input is fed to every run when it is a file or a pipe. */
static Status read_own_input(int *out, Error *err)
{
    struct stat info;
    *out = -1;
    if (fstat(STDIN_FILENO, &info) != 0 || (!S_ISREG(info.st_mode) && !S_ISFIFO(info.st_mode)))
        return ST_OK;
    *out = run_read_all(STDIN_FILENO);
    if (*out < 0)
        return FAIL(err, ST_IO, NOWHERE, "cannot read standard input: %s", strerror(errno));
    return ST_OK;
}

static Status choose_cpu(Command *command, uint64_t wanted, int *out, Error *err)
{
    cpu_set_t allowed;
    *out = -1;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return ST_OK; /* more CPUs than the set holds: run unpinned */
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, &allowed) && (wanted == UINT64_MAX || wanted == (uint64_t)cpu))
            *out = cpu;
    if (*out < 0)
        return usage_error(command, err, "--cpu: CPU %" PRIu64 " cannot be used here", wanted);
    return ST_OK;
}

/* A name without a slash is that of a file that can be run here, before any of PATH: as `respin
 * optimize` reads it. */
static char *program_here(Arena *arena, char *name)
{
    struct stat info;
    if (strchr(name, '/') != NULL || stat(name, &info) != 0 || !S_ISREG(info.st_mode) ||
        access(name, X_OK) != 0)
        return name;
    return arena_printf(arena, "./%s", name);
}

static Status set_up_side(Comparison *comparison, Side *side, const char *text, int input,
                          Error *err)
{
    Command *command = comparison->command;
    Words words;
    TRY(words_split(command->arena, text, command->rest, &words, err));
    words.argv[0] = program_here(command->arena, words.argv[0]);
    side->spec =
        (RunSpec){ .name = text,
                   .argv = words.argv,
                   .environment = words_environment(command->arena, environ, words.assignments),
                   .input = input,
                   .cpu = comparison->cpu,
                   .show_errors = command->verbose };
    if (words.input != NULL)
        TRY(read_input(words.input, &side->spec.input, err));
    side->wall = arena_many(command->arena, double, comparison->pairs);
    side->user = arena_many(command->arena, double, comparison->pairs);
    side->counts = arena_many(command->arena, PerfCounts, comparison->pairs);
    return ST_OK;
}

static Status set_up(Comparison *comparison, const CompareOptions *options, Error *err)
{
    Command *command = comparison->command;
    int input;
    if (options->pairs > MAX_PAIRS)
        return usage_error(command, err, "-n: at most %d pairs", MAX_PAIRS);
    comparison->pairs = (uint32_t)options->pairs;
    TRY(choose_cpu(command, options->cpu, &comparison->cpu, err));
    if (options->input != NULL)
        TRY(read_input(options->input, &input, err));
    else
        TRY(read_own_input(&input, err));
    for (int i = 0; i < SIDES; i++)
        TRY(set_up_side(comparison, &comparison->side[i], command->args[i], input, err));
    return ST_OK;
}

/* ---- running -------------------------------------------------------------------------------- */

/* Holds a run against the first one of all. */
static void check_result(Comparison *comparison, int which, const RunResult *result)
{
    Arena *arena = comparison->command->arena;
    uint64_t at;
    if (result->status != comparison->status)
        comparison->difference = arena_printf(
            arena, "%s ended with %s, before with %s", side_names[which],
            run_status_text(arena, result->status), run_status_text(arena, comparison->status));
    else if (!run_same_output(comparison->reference, result->output, &at))
        comparison->difference =
            arena_printf(arena, "the standard output of %s differs from byte %" PRIu64 " on",
                         side_names[which], at);
}

/* Keeps the first result as the reference; checks every other. */
static void take_result(Comparison *comparison, int which, const RunResult *result)
{
    Side *side = &comparison->side[which];
    if (result->peak_bytes > side->peak_bytes)
        side->peak_bytes = result->peak_bytes;
    if (comparison->reference < 0) {
        comparison->reference = result->output;
        comparison->status = result->status;
        return;
    }
    check_result(comparison, which, result);
    close(result->output);
}

static Status run_check(Comparison *comparison, Error *err)
{
    for (int i = 0; i < SIDES && comparison->difference == NULL; i++) {
        RunResult result;
        progress_show(comparison->command, "first run: %s", side_names[i]);
        TRY(run_command(&comparison->side[i].spec, &result, err));
        take_result(comparison, i, &result);
    }
    return ST_OK;
}

static Status run_pairs(Comparison *comparison, Error *err)
{
    for (uint32_t pair = 0; pair < comparison->pairs; pair++) {
        progress_show(comparison->command, "pair %" PRIu32 " of %" PRIu32, pair + 1,
                      comparison->pairs);
        for (int turn = 0; turn < SIDES; turn++) {
            int which = pair % 2 == 0 ? turn : !turn;
            Side *side = &comparison->side[which];
            RunResult result;
            TRY(run_command(&side->spec, &result, err));
            side->wall[pair] = result.wall;
            side->user[pair] = result.user;
            side->counts[pair] = result.counts;
            take_result(comparison, which, &result);
            if (comparison->difference != NULL)
                return ST_OK;
        }
    }
    return ST_OK;
}

static Status run_model(Comparison *comparison, Error *err)
{
    for (int i = 0; i < SIDES && comparison->difference == NULL; i++) {
        RunResult result;
        Side *side = &comparison->side[i];
        progress_show(comparison->command, "front-end model: %s", side_names[i]);
        TRY(model_run(comparison->command->arena, &side->spec, &result, &side->model, err));
        int64_t peak = side->peak_bytes;
        take_result(comparison, i, &result);
        side->peak_bytes = peak; /* the VM's own memory is not the program's */
    }
    if (comparison->difference == NULL)
        comparison->n_changed =
            model_compare(&comparison->side[BEFORE].model, &comparison->side[AFTER].model);
    return ST_OK;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static Interval ratio_interval(Arena *arena, const double *before, const double *after, size_t n)
{
    double *ratios = arena_many(arena, double, n);
    for (size_t i = 0; i < n; i++) /* a run too short for the clock counts as no change */
        ratios[i] = after[i] > 0 ? before[i] / after[i] : 1.0;
    return statistics_bootstrap(arena, ratios, n, BOOTSTRAP_SEED);
}

static void conclude(Comparison *comparison)
{
    Arena *arena = comparison->command->arena;
    const Side *before = &comparison->side[BEFORE], *after = &comparison->side[AFTER];
    if (comparison->pairs == 0 || comparison->difference != NULL)
        return;
    comparison->wall = ratio_interval(arena, before->wall, after->wall, comparison->pairs);
    comparison->user = ratio_interval(arena, before->user, after->user, comparison->pairs);
    comparison->too_short = statistics_median(arena, before->wall, comparison->pairs) < short_run;
    comparison->slower = !comparison->too_short && comparison->wall.high < slower_below &&
                         comparison->user.high < slower_below;
}

static Status run_all(Comparison *comparison, bool no_model, Error *err)
{
    TRY(run_check(comparison, err));
    if (comparison->difference == NULL)
        TRY(run_pairs(comparison, err));
    if (comparison->difference == NULL && !no_model) {
        TRY(run_model(comparison, err));
        comparison->has_model = comparison->difference == NULL;
    }
    return ST_OK;
}

static Status run_compare(Command *command, const void *options_given, Error *err)
{
    const CompareOptions *options = options_given;
    Comparison comparison = { .command = command, .reference = -1 };
    TRY(want_operands(command, SIDES, SIDES, "BEFORE and AFTER", err));
    TRY(set_up(&comparison, options, err));
    Status status = run_all(&comparison, options->no_model, err);
    progress_end(command);
    TRY(status);
    conclude(&comparison);
    if (comparison.difference != NULL || comparison.slower)
        command->exit_code = EXIT_ANSWER_IS_NO;
    if (options->html != NULL)
        TRY(comparison_write_html(&comparison, options->html, err));
    if (command->json)
        return comparison_print_json(&comparison, err);
    comparison_print_text(&comparison);
    return ST_OK;
}

static const CompareOptions compare_defaults = { .pairs = DEFAULT_PAIRS, .cpu = UINT64_MAX };

static const OptionRow compare_options[] = {
    { 'n', "pairs", "PAIRS", OPTION_NUMBER, offsetof(CompareOptions, pairs),
      "pairs of timed runs (default 41); 0: only the model" },
    { 0, "cpu", "N", OPTION_NUMBER, offsetof(CompareOptions, cpu),
      "run on CPU N (default: the last one)" },
    { 0, "stdin", "FILE", OPTION_STRING, offsetof(CompareOptions, input),
      "standard input of every run" },
    { 0, "no-model", NULL, OPTION_FLAG, offsetof(CompareOptions, no_model),
      "no runs under the process VM" },
    { 0, "html", "FILE", OPTION_STRING, offsetof(CompareOptions, html),
      "write the result as a page for a browser, too" },
    { 0, NULL, NULL, OPTION_FLAG, 0, NULL },
};

const Verb verb_compare = {
    .name = "compare",
    .usage = "BEFORE AFTER [-n PAIRS] [-- ARGS...]",
    .summary = "run two programs against each other: same results, which is faster",
    .help =
        "Runs BEFORE and AFTER in interleaved pairs on one CPU, checks that standard output and\n"
        "exit status are the same in every run, and prints the median of the pairs' time ratios\n"
        "(before/after: above 1 is faster) with its 95% interval. Then runs each once under the\n"
        "process VM and prints figures that have no noise: branches by class, code lines and\n"
        "pages touched, misses of a modelled I-cache (32 KiB, 8 ways), iTLB (64 entries) and BTB\n"
        "(4096 branches).\n"
        "\n"
        "ARGS are given to both. BEFORE and AFTER may be whole commands, quoted, with variables\n"
        "in front and '< FILE' behind: 'LD_LIBRARY_PATH=fast sqlite3 :memory: < work.sql'.\n"
        "Standard input, when it is a file or a pipe, is read once and fed to every run.\n"
        "\n"
        "Fewer than 41 pairs of runs of half a second show only noise on most machines.\n"
        "Exit status 1: results differ, or AFTER is slower (both whole intervals below\n"
        "0.99; runs under 0.1 s are not judged).\n",
    .options = compare_options,
    .options_size = sizeof(CompareOptions),
    .options_default = &compare_defaults,
    .run = run_compare,
};

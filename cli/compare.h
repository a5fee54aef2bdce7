/*
 * What `respin compare` finds out. compare.c fills it, compare_print.c shows it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CLI_COMPARE_H
#define RESPIN_CLI_COMPARE_H

#include "cli/command.h"
#include "cli/compare_run.h"
#include "cli/statistics.h"
#include "core/profile.h"

/* What the process VM counted on one run of a command. All of it is deterministic. */
typedef struct ModelFigures {
    uint64_t instructions;
    uint64_t icache_misses;   /* 32 KiB, 8 ways, 64-byte lines */
    uint64_t itlb_misses;     /* 64 entries of 4 KiB */
    uint64_t btb_misses;      /* taken branches that 4096 entries, 4 ways, did not hold */
    double lines_per_million; /* different code lines in a million instructions, on average */
    double pages_per_million; /* … 4 KiB pages */
    ProfileFigures all;       /* branches by class, over all modules */
    ProfileFigures changed;   /* over the modules that only this side has */
    const Profile *profile;
} ModelFigures;

/* BEFORE or AFTER. Arrays have one value a pair. */
typedef struct Side {
    RunSpec spec;
    double *wall; /* seconds */
    double *user;
    PerfCounts *counts;
    int64_t peak_bytes; /* the largest of all runs */
    ModelFigures model;
} Side;

enum { BEFORE, AFTER, SIDES };

typedef struct Comparison {
    Command *command;
    Side side[SIDES];
    uint32_t pairs; /* timed */
    int cpu;        /* -1: not pinned */
    bool has_model;
    uint32_t n_changed;     /* modules of BEFORE that AFTER does not have */
    int reference;          /* output of the first run; every other must equal it */
    int status;             /* its wait status */
    const char *difference; /* NULL: output and status were equal in every run */
    Interval wall;          /* of the ratios before/after, pair by pair */
    Interval user;
    bool too_short; /* runs of so little time that they are not judged */
    bool slower;    /* the answer is no: see compare.c */
} Comparison;

/* Runs the side's command under the process VM; adds to `out` what it counted. */
MUST_CHECK Status model_run(Arena *arena, const RunSpec *spec, RunResult *result, ModelFigures *out,
                            Error *err);
/* Fills `changed` of both: the modules that the two runs do not share. Number of them in BEFORE. */
uint32_t model_compare(ModelFigures *before, ModelFigures *after);

/* A line of a table: before, after and the change between them, as they are shown. */
typedef struct Figure {
    const char *text;
    const char *before;
    const char *after;
    const char *change; /* of times: their ratio and its interval; "" when before is 0 */
    int verdict;        /* of times: 1 faster, -1 slower, 0 cannot be told */
} Figure;

enum { FIGURES_MOST = 32 };

/* What was measured, and what the model counted. Into `out`, room for FIGURES_MOST; how many. */
uint32_t comparison_measured(const Comparison *comparison, Figure *out);
uint32_t comparison_counted(const Comparison *comparison, Figure *out);

void comparison_print_text(const Comparison *comparison);
MUST_CHECK Status comparison_print_json(const Comparison *comparison, Error *err);
/* The comparison as a page at `path`. Errors: ST_IO. */
MUST_CHECK Status comparison_write_html(const Comparison *comparison, const char *path, Error *err);

#endif

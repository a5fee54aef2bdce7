/*
 * The command line of respin-vm: read at its start, written for the programs that the guest
 * executes.
 *
 *   respin-vm --vm=PATH --zydis=PATH [--out=PATH] [--respin=PATH] [--model=PATH] [--run=HEX]
 *             [--engine=NAME] [--address-space=SOFT:HARD] [--values] [--no-follow] [--child]
 *             [--first] [--name=NAME] [--burst=HEX] -- PROGRAM ARGV0 ARGV1...
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_OPTIONS_H
#define RESPIN_PROFILER_OPTIONS_H

#include "profiler/vm.h"

enum { OPTIONS_MOST = 16, OPTIONS_TEXT = 6 * 4200 };

/* What was read: `program` and `name` point into argv. */
typedef struct Start {
    const char *program; /* the file to load */
    const char *name;    /* AT_EXECFN */
    bool is_first;       /* `program` is as the user named it: perhaps a script */
    uint64_t first;      /* index in argv of the guest's argv[0] */
} Start;

/* False: not a command line that `respin profile` writes; *problem says what is wrong. */
bool options_read(VmOptions *options, Start *start, char *const *argv, const char **problem);

typedef struct OptionText {
    char bytes[OPTIONS_TEXT];
} OptionText;

/* Writes respin-vm's own words, "--" included, into argv; how many. For a child of this process. */
size_t options_to_argv(const VmOptions *options, const char *name, OptionText *text,
                       const char **argv);

#endif

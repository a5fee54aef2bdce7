/*
 * finish.c: `respin finish OUT STATUS [RUN]`: what the process VM becomes when its guest has ended.
 *
 * With RUN it is a child that ended, one of many: the live files of those that have ended are
 * summed up while the run goes on (core/profile_fold.c); in silence, since nothing is lost if it
 * fails.
 *
 * Else the live profile at OUT and those of ended children become the compact form. Runs in the
 * place of the guest, so it ends with the guest's STATUS whatever happens; a profile that cannot be
 * compacted (the disk is full) stays in its live form, which every verb reads as well.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cli/command.h"

#include "core/profile.h"

#include <stdlib.h>

static Status run_finish(Command *command, const void *options, Error *err)
{
    (void)options;
    TRY(want_operands(command, 2, 3, "OUT STATUS [RUN]", err));
    const char *path = command->args[0];
    char *end;
    long status = strtol(command->args[1], &end, 10);
    if (*end != '\0' || end == command->args[1] || status < 0 || status > 255)
        return usage_error(command, err, "STATUS is \"%s\", not a number up to 255",
                           command->args[1]);
    command->exit_code = (int)status;
    Error failed = { .place = NOWHERE };
    if (command->n_args == 3) {
        Status folded = profile_fold(path, strtoull(command->args[2], NULL, 16), &failed);
        (void)folded;
        return ST_OK;
    }
    if (profile_finish(path, &command->log, &failed) != ST_OK) {
        char text[ERROR_TEXT_MAX * 2];
        failed.noticed_at = NULL;
        error_format(&failed, text, sizeof text);
        log_print(&command->log, LOG_WARN,
                  "%s: the profile stays in its live form, which is larger and as good", text);
    }
    return ST_OK;
}

const Verb verb_finish = {
    .name = "finish",
    .usage = "OUT STATUS [RUN]",
    .summary = "compact a profile at the end of its run",
    .help = "Turns the live profile OUT, and those of its children that have ended, into the\n"
            "compact form, and ends with STATUS. With RUN, sums up the children of that run that\n"
            "have ended, and leaves OUT alone. The process VM calls it.\n",
    .options = (const OptionRow[]){ { 0 } },
    .hidden = true,
    .run = run_finish,
};

/*
 * Profiles in the formats of other tools, out and in.
 *
 *   profile_preagg.c     out: BOLT's pre-aggregated branches        perf2bolt -pa, llvm-bolt -pa
 *   profile_fdata.c      out: BOLT's own format                     llvm-bolt -data
 *   profile_callgrind.c  out: costs, calls and jumps                callgrind_annotate, KCachegrind
 *   profile_folded.c     out: one line a stack                      flame graphs
 *   profile_json.c       out: everything, for scripts
 *   profile_calls.c      functions and the calls between them, for the two in the middle
 *   profile_branches.c   branches and stretches between them → blocks and edges, for the readers
 *   profile_read_bolt.c  in: preagg and fdata
 *   profile_read_perf.c  in: what `perf script -F pid,brstack` prints
 *
 * docs/formats/convert.md says what each keeps, what it loses, and by what rules.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_PROFILE_CONVERT_H
#define RESPIN_CORE_PROFILE_CONVERT_H

#include "core/profile.h"

/* ---- out: appended to `out` ------------------------------------------------------------------ */

/* BOLT's formats are of one binary: module number `module`, whose file is `image`. */
void profile_write_preagg(const Profile *profile, uint32_t module, const Image *image, Buffer *out);
/* ST_REFUSED for a stripped file: functions are named by symbols there. */
MUST_CHECK Status profile_write_fdata(const Profile *profile, uint32_t module, const Image *image,
                                      Buffer *out, Error *err);
/* Names come from the modules' files where those are still the ones that ran. */
void profile_write_callgrind(const Profile *profile, Buffer *out);
void profile_write_folded(const Profile *profile, Buffer *out);
void profile_write_json(const Profile *profile, Buffer *out);

/* ---- in ------------------------------------------------------------------------------------- */

typedef enum ForeignFormat {
    FOREIGN_NONE, /* none of these; perhaps a profile of ours */
    FOREIGN_PREAGG,
    FOREIGN_FDATA,
    FOREIGN_PERF,      /* text of perf script */
    FOREIGN_PERF_DATA, /* perf's own file, which only perf reads */
} ForeignFormat;

/* By the first lines. */
ForeignFormat profile_foreign_format(Bytes file);

/*
 * Branch records of one binary → a profile of one module, keyed as `image` is, marked sampled.
 *
 * path:   for messages. Blocks are found by decoding `image` between branch targets.
 * Result: in `arena`. Records that lead out of the image are entries and exits of it.
 * Errors: ST_BAD_INPUT with the line and its byte offset; ST_REFUSED for a variant of the format
 *         that holds no branches, or when nothing in the file belongs to `image`.
 */
MUST_CHECK Status profile_read_foreign(Arena *arena, const char *path, Bytes file,
                                       ForeignFormat format, const Image *image,
                                       const Profile **out, Error *err);

#endif

/*
 * What the files that make up the profile share with each other and with nobody else.
 *
 *   profile.c        queries, which form a file has
 *   profile_digest.c whether two profiles hold the same counts
 *   profile_check.c  order and bounds: every reader ends here
 *   profile_text.c   the text form          docs/formats/profile-text.md
 *   profile_text_out.c   writes it
 *   profile_file.c   the compact form       docs/formats/profile.md
 *   profile_live.c   the live form          docs/formats/live.md
 *   profile_run.c    a run's live files together; the end of a run
 *   profile_fold.c   many ended children → one file, while the run goes on
 *   profile_sum.c    sums of many files in little memory
 *   profile_images.c the files that were mapped, opened once
 *   profile_weave.c  overlapping runs → blocks that do not overlap
 *   profile_sizes.c  how long the instructions of a run are
 *   profile_samples.c    what burst mode counted → estimates of executions
 *   profile_build.c  runs and counters of one process → blocks and edges
 *   profile_merge.c  sums
 *   profile_values.c observed values
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_PROFILE_PARTS_H
#define RESPIN_CORE_PROFILE_PARTS_H

#include "core/live_format.h"
#include "core/profile.h"

/* First bytes of the text form. */
#define PROFILE_TEXT_MAGIC "respin-profile-text 1"
/* Of the compact form, 8 bytes. */
#define PROFILE_MAGIC "RSPNPRF1"
enum { INSN_SIZE_MAX = 15 };

/* Counts never wrap: a sum that does not fit stays at the largest value. Associative. */
static inline uint64_t count_add(uint64_t left, uint64_t right)
{
    uint64_t sum;
    return __builtin_add_overflow(left, right, &sum) ? UINT64_MAX : sum;
}

/* The orders of ProfileModule.edges and of ProfileModule.entries, for qsort. */
int profile_edge_order(const void *left, const void *right);
int profile_entry_order(const void *left, const void *right);

/*
 * Holds the invariants of profile.h against what a reader made: order, no overlap, indices, sizes.
 * ST_BAD_INPUT with `file` and the module's path as section.
 */
MUST_CHECK Status profile_check(const Profile *profile, const char *file, Error *err);

/* A run of instructions that was executed `count` times from its first to its last. */
typedef struct Run {
    uint64_t start;
    uint32_t size; /* bytes, at least 1 */
    uint32_t n_insns;
    uint32_t last; /* offset of the last instruction; 0 where `sizes` says it or nobody knows */
    bool falls;    /* every execution went on to the address behind it without a branch */
    bool ends;     /* the last instruction is a branch */
    const uint8_t *sizes; /* of each instruction; NULL: not known */
    uint64_t count;
} Run;

typedef struct Woven {
    ProfileBlock *blocks; /* sorted */
    uint32_t n_blocks;
    ProfileEdge *falls; /* EDGE_FALL where a block ends without a branch; sorted; to_module is 0 */
    uint32_t n_falls;
} Woven;

/*
 * Blocks from runs; result in `arena`. `runs` and `leaders` are sorted in place.
 * leaders:      addresses at which a block begins when an instruction does.
 * split_counts: a block also begins where the count changes. Of one process; sums do not.
 */
void profile_weave(Arena *arena, Run *runs, size_t n, uint64_t *leaders, size_t n_leaders,
                   bool split_counts, Woven *out);

/* The order of Profile.modules in sums. */
int profile_module_order(const char *path, const ImageKey *key, const char *other_path,
                         const ImageKey *other_key);
/* A sum of it alone would be the same; false where that is not certain. */
bool profile_is_sum(const Profile *profile);

/* Sorts edges, or entries, and sums those that are equal but for the count; the new number. */
uint32_t profile_sum_edges(ProfileEdge *edges, uint32_t n);
uint32_t profile_sum_entries(ProfileEdge *entries, uint32_t n);
/* The same where the first `n_first` come nearly sorted, and the others in any order. */
uint32_t profile_join_edges(ProfileEdge *edges, uint32_t n_first, uint32_t n);

/* The orders of ProfileModule.values and of ProfileValue.top, for qsort. */
int profile_value_order(const void *left, const void *right);
int profile_top_order(const void *left, const void *right);
/* OBSERVED_KINDS: no such name. */
ObservedKind profile_value_kind(const char *name);
/* Sorts values, sums those of one site, and drops those without observation; the new number. */
uint32_t profile_sum_values(Arena *arena, ProfileValue *values, uint32_t n);
/* The part of profile_check that concerns values. */
MUST_CHECK Status profile_check_values(const char *file, const ProfileModule *module, Error *err);
/* The GOT slot leads to a function whose third argument is a length. */
bool profile_takes_length(const Image *image, Vaddr slot);

/* Sorts pages and drops doubles; the new number. */
uint32_t profile_sort_pages(Vaddr *pages, uint32_t n);

/* True when the key says nothing: [vdso], changed files. */
bool profile_key_empty(const ImageKey *key);

/*
 * What one live file says, bounds checked: every index is inside its table, every run in its map.
 */
typedef struct LiveData {
    const char *path;
    LiveHeader header;
    const LiveMap *maps;
    uint32_t n_maps;
    const LiveBlock *blocks;
    uint32_t n_blocks;
    const LiveEdge *edges;
    uint32_t n_edges;
    const LiveSum *sums; /* already added to `counters` */
    uint32_t n_sums;
    const LiveText *texts;
    uint32_t n_texts;
    const LiveValue *values;
    uint32_t n_values;
    const uint64_t *counters; /* sums over threads, and what LiveSums say */
    uint32_t n_counters;
} LiveData;

/* The count of counter `id`; 0 when the file never had room for it. */
static inline uint64_t live_count(const LiveData *live, uint64_t id)
{
    return id < live->n_counters ? live->counters[id] : 0;
}

/* Executions of the run; and whether it has any counter that is not zero. */
static inline uint64_t live_run_count(const LiveData *live, const LiveBlock *block, bool *used)
{
    uint64_t first = live_count(live, block->counter);
    uint64_t second = 0;
    if (block->end == LIVE_END_COND || block->end == LIVE_END_CALL ||
        block->end == LIVE_END_CALL_IND || block->end == LIVE_END_SYSCALL)
        second = live_count(live, (uint64_t)block->counter + 1);
    *used = first != 0 || second != 0;
    return block->end == LIVE_END_COND ? count_add(first, second) : first;
}

/* Estimates in place of samples; `live` itself where nothing can be said. */
const LiveData *profile_scale_samples(Arena *arena, const LiveData *live);
ProfileBursts profile_bursts(const LiveHeader *header);

MUST_CHECK Status profile_parse_live(Arena *arena, const char *path, Bytes file, LiveData *out,
                                     Error *err);
/* The same from an open file of `size` bytes, which it does not read as a whole. */
MUST_CHECK Status profile_load_live(Arena *arena, const char *path, int fd, uint64_t size,
                                    LiveData *out, Error *err);

/* Files that code was mapped from; one set serves all processes of a run. */
typedef struct Images Images;
Images *images_new(Arena *arena);
void images_close(Images *images);
/* See image_drop_pages: of all of them. */
void images_drop_pages(const Images *images);

/* Where the code of a LiveMap comes from. */
typedef struct MapSource {
    const char *path;   /* of the module; NULL: generated code, in no module */
    ImageKey key;       /* empty: no file, or another one by now */
    const Image *image; /* NULL: none */
    Bytes vdso;         /* our own, to be believed only where it decodes as recorded */
    uint64_t bias;      /* run-time address minus bias = address in the module */
    const char *remark; /* why the file was not used; NULL */
} MapSource;

/* whole: relocations of the file are wanted. `remark` is in the arena of images_new. */
void images_find(Images *images, const LiveMap *map, bool whole, MapSource *out);

/* Instruction sizes of runs that come in order of their starts. */
typedef struct RunSizes {
    Arena *arena; /* of the sizes */
    Run last;     /* whose sizes were found; all 0: none yet */
} RunSizes;

/* Those of a run, from the bytes of its file; NULL when those are not what was executed. */
const uint8_t *profile_run_sizes(RunSizes *sizes, const MapSource *source, const Run *run);

/* Blocks and edges of one process. */
MUST_CHECK Status profile_build(Arena *arena, const LiveData *live, Images *images,
                                const Profile **out, Error *err);

/* A file beside OUT that belongs to a run. */
typedef struct Sibling {
    const char *path;
    uint64_t run;
    uint32_t pid;
    uint64_t generation; /* of the sum that it is, or is in; 0: of a process, in no sum */
    bool is_sum;
    bool superseded; /* in a sum, or an older one: nothing to read */
} Sibling;

typedef struct Siblings {
    Sibling *items; /* sorted by path */
    size_t n, cap;
    uint64_t last_sum; /* its generation; 0: none */
} Siblings;

void profile_list_siblings(Arena *arena, const char *path, uint64_t run, Siblings *out);
/* Its process died before its first instruction: nothing is in it, nothing will be. */
bool profile_sibling_is_void(const Sibling *sibling);
/* No process writes to it any more. */
bool profile_sibling_ended(const Sibling *sibling);
/* What it holds; a profile with nothing but a remark when it cannot be read. */
const Profile *profile_read_sibling(Arena *arena, const char *path, uint64_t run, Images *images);

/* A sum of many of them, a few of which are in memory at a time. */
enum { PROFILE_SUM_PARTS = 64 };
typedef struct ProfileSum {
    Arena *arena; /* of the sum so far… */
    const Profile *so_far;
    Arena *reading; /* …and of the parts that are not in it yet */
    const Profile *parts[PROFILE_SUM_PARTS];
    uint32_t n_parts;
} ProfileSum;
void profile_sum_begin(ProfileSum *sum);
void profile_sum_end(ProfileSum *sum);
/* What profile_read_sibling gives goes in. */
MUST_CHECK Status profile_sum_add(ProfileSum *sum, const char *path, uint64_t run, Images *images,
                                  Error *err);
/* The sum, and `base` (NULL: none; else of `arena`), in `arena`. */
MUST_CHECK Status profile_sum_take(ProfileSum *sum, Arena *arena, const Profile *base,
                                   const Profile **out, Error *err);

/* flock on OUT: whoever sums files up has it alone, readers share it. -1: not to be had. */
int profile_lock(const char *path, int operation);
void profile_unlock(int lock);

/*
 * Adds to `base` what the live files of its run beside `path` say (`OUT.live-RUN-PID-N`).
 * only_ended: leaves alone those that a living process still writes to.
 * used:       may be NULL; the paths of the files that went in.
 * A file that cannot be read becomes a remark.
 */
typedef struct LivePaths {
    const char **paths;
    size_t n, cap;
    uint32_t n_alive; /* left alone */
} LivePaths;
MUST_CHECK Status profile_add_siblings(Arena *arena, const char *path, const Profile *base,
                                       Images *images, bool only_ended, LivePaths *used,
                                       const Profile **out, Error *err);

/* A file with none of those beside it; `name` is for messages. What it takes besides the result is
 * freed. */
MUST_CHECK Status profile_read_path(Arena *arena, const char *path, const char *name,
                                    Images *images, const Profile **out, Error *err);

/* What profile_read does, from bytes in memory and without the files beside them; fuzzers start
 * here. Bytes are borrowed. */
MUST_CHECK Status profile_read_bytes(Arena *arena, const char *path, Bytes file, Images *images,
                                     const Profile **out, Error *err);
/* The payload of the compact form, and the file round it. Apart, so that tests can break either. */
void profile_encode(const Profile *profile, Buffer *out);
MUST_CHECK Status profile_decode(Arena *arena, const char *path, Bytes payload, const Profile **out,
                                 Error *err);
MUST_CHECK Status profile_seal(Bytes payload, Buffer *out, Error *err);
MUST_CHECK Status profile_read_compact(Arena *arena, const char *path, Bytes file,
                                       const Profile **out, Error *err);
MUST_CHECK Status profile_read_text(Arena *arena, const char *path, Bytes file, const Profile **out,
                                    Error *err);

#endif

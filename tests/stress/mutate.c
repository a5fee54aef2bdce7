/*
 * mutate.c: breaks a file in one place, thousands of times, and lets every reader have it.
 *
 *     mutate image   FILE PROFILE COUNT [SEED]    an ELF file, optimized with PROFILE
 *     mutate profile FILE IMAGE   COUNT [SEED]    a profile of any form, used to optimize IMAGE
 *
 * Each mutation must end in a result or in an error with a place: never in a crash, a sanitizer's
 * report, ST_BUG, more than a few seconds, or an output that `check` does not accept. Mutations are
 * a function of SEED and their number alone, so `mutate … 1 SEED` with the seed that is printed
 * repeats one.
 *
 *     supervisor --fork--> worker: mutation 0, 1, 2 …     dies or hangs at 17: reported,
 *                --fork--> worker: mutation 18, 19 …      another takes over behind it
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/lsda.h"
#include "core/profile_parts.h"
#include "rewriter/rewriter.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HANG_SECONDS = 30, HEAD_BYTES = 4096, MAX_FINDINGS = 20 };

/* What the supervisor sees of the worker. */
typedef struct Shared {
    volatile uint64_t number; /* mutation in hand */
    volatile uint64_t done;
    volatile uint64_t accepted; /* gave a result */
    volatile uint64_t findings; /* wrong without a crash */
} Shared;

typedef struct Job {
    const char *what;
    const char *path;
    Bytes file;        /* as it is, unbroken */
    Bytes payload;     /* of a compact profile; empty: none */
    const char *other; /* PROFILE or IMAGE */
    uint64_t seed;
    uint64_t count;
    Shared *shared;
} Job;

/* ---- one mutation --------------------------------------------------------------------------- */

/* SplitMix64. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Where to break: half of the time among the headers at either end, where most fields stand. */
static size_t choose_place(uint64_t *random, size_t len)
{
    uint64_t where = next_random(random);
    size_t head = len < HEAD_BYTES ? len : HEAD_BYTES;
    switch (where & 3) {
    case 0:
        return next_random(random) % head;
    case 1:
        return len - 1 - next_random(random) % head;
    default:
        return next_random(random) % len;
    }
}

static const uint64_t odd_values[] = {
    0, 1, 0xff, 0x7fffffff, 0xffffffff, UINT64_MAX, UINT64_MAX / 2, 0x1000, 0x7ffffffff000
};

/* Breaks `bytes` in one place; returns the length, which a truncation shortens. */
static size_t mutate(uint8_t *bytes, size_t len, uint64_t random)
{
    size_t at = choose_place(&random, len), left = len - at;
    uint64_t value = odd_values[next_random(&random) % (sizeof odd_values / sizeof *odd_values)];
    switch (next_random(&random) % 8) {
    case 0:
        return at;
    case 1:
        memset(bytes + at, (int)next_random(&random), left < 16 ? left : 16);
        return len;
    case 2:
        memcpy(bytes + at, &value, left < 8 ? left : 8);
        return len;
    case 3:
        memcpy(bytes + at, &value, left < 4 ? left : 4);
        return len;
    default:
        bytes[at] ^= (uint8_t)(1u << (next_random(&random) % 8));
        return len;
    }
}

/* ---- what every reader must stand ------------------------------------------------------------ */

/* An error must say what and where; ST_BUG is never the user's fault. */
static bool is_clear(const Job *job, Status status, const Error *err)
{
    if (status == ST_OK)
        return true;
    if ((status == ST_BAD_INPUT || status == ST_REFUSED) && err->text[0] != '\0')
        return true;
    char text[ERROR_TEXT_MAX * 2];
    error_format(err, text, sizeof text);
    printf("mutation %" PRIu64 " of %s: status %d: %s\n", job->shared->number, job->path, status,
           text);
    job->shared->findings++;
    return false;
}

static void read_lsdas(Arena *arena, const Job *job, const Image *image, const UnwindTable *table)
{
    for (uint32_t i = 0; i < table->n_fdes; i++) {
        const Lsda *lsda;
        UnwindRows rows;
        Error err = { .text = "" };
        if (!vaddr_is_none(table->fdes[i].lsda))
            is_clear(job, lsda_read(arena, image, &table->fdes[i], &lsda, &err), &err);
        is_clear(job, unwind_rows(arena, image, table, &table->fdes[i], &rows, &err), &err);
    }
}

/* The output must be one that `check` accepts. */
static void rewrite_and_check(Arena *arena, const Job *job, const Image *image, const Plan *plan)
{
    Bytes bytes;
    RewriteStats stats;
    CheckReport report;
    const Image *output;
    Error err = { .text = "" };
    Status status = rewrite_to_bytes(arena, plan, &bytes, &stats, &err);
    if (!is_clear(job, status, &err) || status != ST_OK)
        return;
    status = image_from_bytes(arena, "output", bytes, &output, &err);
    if (status == ST_OK && plan->n_regions > 0) /* without one the output is a copy of the input */
        status = check_output(arena, image, output, &report, &err);
    if (status != ST_OK) {
        err.status = ST_BUG;
        is_clear(job, ST_BUG, &err);
        return;
    }
    job->shared->accepted++;
}

static void optimize_with(Arena *arena, const Job *job, const Image *image, const Profile *profile)
{
    OptimizeOptions options = { .growth_percent = 15, .hot = HOT_ALL_EXECUTED };
    const Plan *plan;
    Error err = { .text = "" };
    Status status = optimize(arena, image, profile, &options, &plan, &err);
    if (is_clear(job, status, &err) && status == ST_OK)
        rewrite_and_check(arena, job, image, plan);
}

/* The profile as if it were of this build, so that a broken image goes all the way. */
static const Profile *profile_of(Arena *arena, const Profile *profile, const Image *sound,
                                 const Image *broken)
{
    Profile *copy = arena_copy(arena, profile, sizeof *profile);
    copy->modules = arena_copy(arena, profile->modules, profile->n_modules * sizeof(ProfileModule));
    for (uint32_t i = 0; i < copy->n_modules; i++)
        if (image_key_equal(&copy->modules[i].key, &sound->key))
            copy->modules[i].key = broken->key;
    return copy;
}

static void try_image(Arena *arena, const Job *job, const Profile *profile, const Image *sound,
                      Bytes broken)
{
    const Image *image;
    const UnwindTable *table;
    Error err = { .text = "" };
    Status status = image_from_bytes(arena, job->path, broken, &image, &err);
    if (!is_clear(job, status, &err) || status != ST_OK)
        return;
    status = unwind_read(arena, image, &table, &err);
    if (is_clear(job, status, &err) && status == ST_OK)
        read_lsdas(arena, job, image, table);
    optimize_with(arena, job, image, profile_of(arena, profile, sound, image));
}

static void try_profile(Arena *arena, const Job *job, const Image *image, Bytes broken,
                        bool is_payload)
{
    const Profile *profile;
    Error err = { .text = "" };
    Buffer text = { .arena = arena };
    Images *images = images_new(arena);
    Status status = is_payload
                        ? profile_decode(arena, job->path, broken, &profile, &err)
                        : profile_read_bytes(arena, job->path, broken, images, &profile, &err);
    if (is_clear(job, status, &err) && status == ST_OK) {
        const Profile *const twice[] = { profile, profile };
        const Profile *merged;
        profile_write_text(profile, &text);
        is_clear(job, profile_merge(arena, twice, 2, &merged, &err), &err);
        optimize_with(arena, job, image, profile);
        job->shared->accepted++;
    }
    images_close(images);
}

/* ---- the worker ----------------------------------------------------------------------------- */

static void die(const Error *err)
{
    char text[ERROR_TEXT_MAX * 2];
    error_format(err, text, sizeof text);
    fprintf(stderr, "mutate: %s\n", text);
    exit(2);
}

/* Breaks a copy that has exactly its own length, so that ASan sees any step past its end. */
static Bytes broken_copy(Bytes of, uint64_t random, void **room)
{
    uint8_t *copy = malloc(of.len);
    memcpy(copy, of.data, of.len);
    size_t len = mutate(copy, of.len, random);
    uint8_t *exact = malloc(len > 0 ? len : 1);
    memcpy(exact, copy, len);
    free(copy);
    *room = exact;
    return (Bytes){ exact, len };
}

static void run_one(const Job *job, const Profile *profile, const Image *image, uint64_t number)
{
    Arena *arena = arena_new();
    uint64_t random = job->seed + number;
    void *room;
    bool is_payload = job->payload.len > 0 && (number & 1) != 0;
    Bytes broken = broken_copy(is_payload ? job->payload : job->file, next_random(&random), &room);
    if (strcmp(job->what, "image") == 0)
        try_image(arena, job, profile, image, broken);
    else
        try_profile(arena, job, image, broken, is_payload);
    free(room);
    arena_free(arena);
}

static void run_worker(Job *job, uint64_t first)
{
    Arena *arena = arena_new();
    bool is_image = strcmp(job->what, "image") == 0;
    const Image *image;
    const Profile *profile = NULL;
    Error err = { .text = "" };
    if (image_open(arena, is_image ? job->path : job->other, &image, &err) != ST_OK)
        die(&err);
    if (profile_read(arena, is_image ? job->other : job->path, &profile, &err) != ST_OK)
        die(&err);
    job->file = image->file;
    if (!is_image) {
        Buffer payload = { .arena = arena };
        if (profile_slurp(arena, job->path, &job->file, &err) != ST_OK)
            die(&err);
        profile_encode(profile, &payload);
        job->payload = buffer_bytes(&payload);
    }
    for (uint64_t number = first; number < job->count; number++) {
        job->shared->number = number;
        run_one(job, profile, image, number);
        job->shared->done = number + 1;
    }
    image_close(image);
    arena_free(arena);
    fflush(stdout);
    exit(0);
}

/* ---- the supervisor ------------------------------------------------------------------------- */

/* Waits for the worker, or for HANG_SECONDS without a mutation done. True: it ended by itself. */
static bool wait_for(pid_t pid, const Job *job, int *status)
{
    const struct timespec tick = { 0, 50 * 1000 * 1000 };
    uint64_t seen = UINT64_MAX;
    time_t since = time(NULL);
    for (;;) {
        if (waitpid(pid, status, WNOHANG) == pid)
            return true;
        if (seen != job->shared->done) {
            seen = job->shared->done;
            since = time(NULL);
        }
        if (time(NULL) - since > HANG_SECONDS) {
            kill(pid, SIGKILL);
            waitpid(pid, status, 0);
            return false;
        }
        nanosleep(&tick, NULL);
    }
}

static void report(const Job *job, bool ended, int status)
{
    printf("mutation %" PRIu64 " of %s: ", job->shared->number, job->path);
    if (!ended)
        printf("no end after %d seconds", HANG_SECONDS);
    else if (WIFSIGNALED(status))
        printf("signal %d", WTERMSIG(status));
    else
        printf("exit status %d", WEXITSTATUS(status));
    printf("; again with: mutate %s %s %s 1 %" PRIu64 "\n", job->what, job->path, job->other,
           job->seed + job->shared->number);
    fflush(stdout);
}

static uint64_t supervise(Job *job)
{
    uint64_t first = 0, crashes = 0;
    while (first < job->count && crashes + job->shared->findings < MAX_FINDINGS) {
        int status;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            run_worker(job, first);
        bool ended = wait_for(pid, job, &status);
        if (ended && WIFEXITED(status) && WEXITSTATUS(status) == 0)
            break;
        report(job, ended, status);
        crashes++;
        first = job->shared->number + 1;
    }
    return crashes + job->shared->findings;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs("usage: mutate image|profile FILE OTHER COUNT [SEED]\n", stderr);
        return 2;
    }
    Shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 2;
    Job job = { .what = argv[1],
                .path = argv[2],
                .other = argv[3],
                .count = strtoull(argv[4], NULL, 0),
                .seed = argc > 5 ? strtoull(argv[5], NULL, 0) : 1,
                .shared = shared };
    uint64_t findings = supervise(&job);
    printf("%s %s: %" PRIu64 " mutations, %" PRIu64 " gave a result, %" PRIu64 " findings\n",
           job.what, job.path, job.shared->done, job.shared->accepted, findings);
    return findings == 0 ? 0 : 1;
}

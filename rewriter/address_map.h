/*
 * The map from the overlay back to the original, as stored in an output (docs/formats/map.md).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_REWRITER_ADDRESS_MAP_H
#define RESPIN_REWRITER_ADDRESS_MAP_H

#include "rewriter/overlay.h"

#define MAP_SECTION ".respin.map"

typedef enum RunKind {
    RUN_SAME,    /* original instructions, size for size */
    RUN_RESIZED, /* one original instruction in its other width */
    RUN_MADE,    /* jumps and padding of the layout's own */
    RUN_CHANGED, /* one instruction that stands for an original one, but is another */
} RunKind;

typedef struct MapRun {
    NewAddr at;
    Vaddr old;     /* VADDR_NONE for RUN_MADE */
    uint64_t size; /* bytes in the overlay */
    uint8_t kind;  /* RunKind */
} MapRun;

typedef struct MapTable {
    NewAddr at;
    Vaddr old;
    Vaddr base; /* of the original's entries, TABLE_REL32; of the clone's, TABLE_REL32_BASE */
    uint32_t n;
    uint8_t form;     /* TableForm of the original */
    uint8_t new_form; /* and of the clone */
} MapTable;

typedef struct MapPatch {
    Vaddr site;
    uint32_t size;
} MapPatch;

typedef struct MapFile {
    ImageKey original;
    NewAddr text_at;
    uint64_t text_size;
    NewAddr tables_at;
    uint64_t tables_size;
    MapRun *runs;
    uint32_t n_runs;
    MapTable *tables;
    uint32_t n_tables;
    MapPatch *patches;
    uint32_t n_patches;
} MapFile;

/* The note's bytes. */
Bytes map_encode(Arena *arena, const Overlay *overlay);

/* NULL in *out: the image has no map. Errors: ST_BAD_INPUT with section and offset. */
MUST_CHECK Status map_decode(Arena *arena, const Image *output, const MapFile **out, Error *err);

/* The run that holds `at`; NULL: none. */
const MapRun *map_run_at(const MapFile *map, NewAddr at);

#endif

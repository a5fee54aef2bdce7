/*
 * Steps of reading an image. Private to core/image*.c.
 *
 * Order: headers and segments, sections, key, dynamic section, relocations, symbols. Each step
 * relies on what the earlier ones have checked:
 *   - segments: PT_LOADs ascend, do not overlap, lie in the file and below 2^47;
 *   - sections: bytes lie in the file, and allocated ones where a PT_LOAD maps them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_IMAGE_READ_H
#define RESPIN_CORE_IMAGE_READ_H

#include "core/image.h"

/* One image being read. */
typedef struct ImageReader {
    Arena *arena;
    Image *image;
} ImageReader;

MUST_CHECK Status image_read_key(ImageReader *reader, Error *err);
MUST_CHECK Status image_read_dynamic(ImageReader *reader, Error *err);
MUST_CHECK Status image_read_relocs(ImageReader *reader, Error *err);
MUST_CHECK Status image_read_symbols(ImageReader *reader, Error *err);

/* A place in the file as a whole. */
static inline Place image_file_place(const Image *image, uint64_t offset)
{
    return (Place){ image->path, NULL, offset };
}

/* A table that the dynamic section names: DT_x address and DT_xSZ size. Absent: empty bytes. */
typedef struct DynTable {
    Vaddr addr;
    Bytes bytes;
} DynTable;

/* ST_BAD_INPUT when the table is not wholly file-backed. `size` 0: as many bytes as follow. */
MUST_CHECK Status image_dyn_table(const Image *image, int64_t addr_tag, const char *name,
                                  uint64_t size, DynTable *out, Error *err);

#endif

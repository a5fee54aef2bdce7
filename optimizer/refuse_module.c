/*
 * refuse_module.c: modules that are refused as a whole.
 *
 * Runtimes that look return addresses up in tables of their own would not find the overlay's; they
 * are known by what their linkers always leave behind, symbols stripped or not.
 *
 * SPDX-License-Identifier: MIT
 */
#include "optimizer/passes.h"

#include <stdio.h>
#include <string.h>

typedef struct Mark {
    Refusal reason;
    const char *section; /* NULL: any allocated section */
    const char *text;    /* bytes in it; NULL: its being there is enough */
} Mark;

static const Mark marks[] = {
    { REFUSED_ALREADY, ".respin.map", NULL },       { REFUSED_GO, ".gopclntab", NULL },
    { REFUSED_GO, ".data.rel.ro.gopclntab", NULL }, { REFUSED_GO, ".go.buildinfo", NULL },
    { REFUSED_OCAML, ".rodata", "OCAMLRUNPARAM" },  { REFUSED_GHC, ".rodata", "GHCRTS" },
};

static bool has_mark(const Image *image, const Mark *mark)
{
    const Section *section = image_section(image, mark->section);
    Bytes bytes;
    if (section == NULL || mark->text == NULL)
        return section != NULL;
    return bytes_slice(image->file, section->offset.v, section->size, &bytes) &&
           section->type != SHT_NOBITS &&
           memmem(bytes.data, bytes.len, mark->text, strlen(mark->text)) != NULL;
}

static bool has_symbol(const Image *image, const char *prefix)
{
    for (uint32_t i = 0; i < image->n_symbols; i++) {
        if (strncmp(image->symbols[i].name, prefix, strlen(prefix)) == 0)
            return true;
    }
    return false;
}

static Status refused(const Image *image, Refusal reason, Error *err)
{
    return FAIL(err, ST_REFUSED, ((Place){ image->path, NULL, PLACE_NO_OFFSET }), "%s: %s",
                refusal_rows[reason].name, refusal_rows[reason].sentence);
}

Status check_module(const Image *image, const UnwindTable *unwind, const Profile *profile,
                    const ProfileModule *counts, Error *err)
{
    char names[ERROR_TEXT_MAX / 2] = "";
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (has_mark(image, &marks[i]))
            return refused(image, marks[i].reason, err);
    }
    if (has_symbol(image, "caml_frametable"))
        return refused(image, REFUSED_OCAML, err);
    if (has_symbol(image, "stg_"))
        return refused(image, REFUSED_GHC, err);
    for (uint32_t i = 0; i < image->n_segments; i++) {
        const Segment *segment = &image->segments[i];
        if (segment->type == PT_LOAD && (segment->flags & (PF_W | PF_X)) == (PF_W | PF_X))
            return refused(image, REFUSED_TEXT_WRITABLE, err);
    }
    if (counts == NULL) {
        for (uint32_t i = 0; i < profile->n_modules && strlen(names) < sizeof names / 2; i++)
            snprintf(names + strlen(names), sizeof names - strlen(names), " %s",
                     profile->modules[i].path);
        return FAIL(err, ST_REFUSED, ((Place){ image->path, NULL, PLACE_NO_OFFSET }),
                    "%s: %s: it is of%s", refusal_rows[REFUSED_NOT_IN_PROFILE].name,
                    refusal_rows[REFUSED_NOT_IN_PROFILE].sentence, names);
    }
    if (counts->text_written)
        return refused(image, REFUSED_TEXT_WRITTEN, err);
    if (unwind->n_fdes == 0)
        return refused(image, REFUSED_NO_EH_FRAME, err);
    return ST_OK;
}

/*
 * Writes a whole file: to a temporary name beside it, then renamed, so that there is never half of
 * one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_CORE_OUT_FILE_H
#define RESPIN_CORE_OUT_FILE_H

#include "core/bytes.h"
#include "core/error.h"

/* True for what is there and is no regular file: /dev/null, /dev/stdout, a pipe. Such are written
 * to and never replaced: as root, a rename would make /dev/null a file. */
bool out_file_is_special(const char *path);

/* Both names lead to one file that is there. */
bool out_file_is_same(const char *left, const char *right);

/* ST_REFUSED for what is there and is an ELF file: profiles and pages take no program's place. */
MUST_CHECK Status out_file_check(const char *path, Error *err);

/* Errors: those of out_file_check; ST_IO. Then nothing is left behind and what was at `path` still
 * is. */
MUST_CHECK Status out_file_write(const char *path, Bytes file, Error *err);

#endif

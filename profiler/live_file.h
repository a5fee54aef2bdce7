/*
 * The live profile as a file: it is opened by name for each change and closed again, so that the
 * guest never meets a file descriptor of the VM's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_PROFILER_LIVE_FILE_H
#define RESPIN_PROFILER_LIVE_FILE_H

#include "profiler/vm.h"

enum { LIVE_NAME_MAX = 4352 };

typedef struct LiveFile {
    char path[LIVE_NAME_MAX];
    uint64_t inode; /* with device: a file that took its name since is another's */
    uint64_t device;
    uint64_t size; /* allocated end: no store to a mapping of it can find the disk full */
} LiveFile;

/*
 * Makes an empty file: `out` for the process that the user started, else (or when `out` already
 * holds the live profile of this run) out.live-RUN-PID-N. False: the system said no.
 */
bool live_file_create(LiveFile *file, const VmOptions *options);
/* Allocates [offset, offset + size). False: the disk, or the process's file limit, is full. */
bool live_file_allocate(LiveFile *file, uint64_t offset, uint64_t size);
/* Removes it: nothing will be in it. */
void live_file_remove(const LiveFile *file);
/* Makes it `user`'s, as far as this process may. UINT32_MAX: leaves it as it is. */
void live_file_give(const LiveFile *file, uint32_t user);
/* Maps allocated bytes at `at`, over what is there. */
bool live_file_map(const LiveFile *file, void *at, uint64_t offset, uint64_t size);
/* Copies memory into allocated bytes. */
bool live_file_write(const LiveFile *file, uint64_t offset, const void *from, uint64_t size);
/* Gives the file the name that readers look for. */
bool live_file_publish(LiveFile *file, const VmOptions *options);

#endif

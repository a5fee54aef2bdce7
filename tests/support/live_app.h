/*
 * A run to read back: a folder with a shared object, and live profiles of it made by hand.
 *
 * Links with cmocka: what fails here fails the test.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_SUPPORT_LIVE_APP_H
#define RESPIN_TESTS_SUPPORT_LIVE_APP_H

#include "tests/support/live_maker.h"

enum { LIVE_APP_RUN = 0x1234, LIVE_APP_BIAS = 0x10000000, LIVE_APP_FIRST_BYTE = 0x90 };

/* Group set-up and tear-down: makes the folder and `app` in it, and removes it. */
int live_app_set_up(void **state);
int live_app_tear_down(void **state);

/* Where the run's profile is to stand, in the folder. */
const char *live_app_out_path(void);

void live_app_write_file(const char *path, Bytes bytes);

/* Writes `app` again: code at 0x2000, at offset 0x1000, whose first byte is `first_byte`. */
void live_app_write(uint8_t first_byte);

/* Where the app's address stands in memory. */
uint64_t at(uint64_t address);

/* A maker with the app's code mapped as map 0. */
LiveMaker maker_with_app(uint32_t pid);

/* The loop, the call and the returns of the app: the first block counts 4. */
LiveMaker usual_maker(uint32_t pid);

#endif

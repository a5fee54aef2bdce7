/*
 * cmocka with the headers that it wants before it, and the helpers that every unit test uses.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef RESPIN_TESTS_SUPPORT_CMOCKA_H
#define RESPIN_TESTS_SUPPORT_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/arena.h"
#include "core/error.h"

/* Group set-up and tear-down: *state is an Arena for one test. */
static inline int arena_setup(void **state)
{
    *state = arena_new();
    return 0;
}

static inline int arena_teardown(void **state)
{
    arena_free(*state);
    return 0;
}

#define unit_test_with_arena(test)                                                                 \
    cmocka_unit_test_setup_teardown(test, arena_setup, arena_teardown)

/* Fails with the error's text when `status` is not ST_OK. */
#define assert_ok(status, err)                                                                     \
    do {                                                                                           \
        if ((status) != ST_OK) {                                                                   \
            char assert_text_[ERROR_TEXT_MAX * 2];                                                 \
            error_format((err), assert_text_, sizeof assert_text_);                                \
            fail_msg("%s", assert_text_);                                                          \
        }                                                                                          \
    } while (0)

#endif

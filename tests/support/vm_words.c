/*
 * vm_words.c: run under the VM, prints how many bytes and words of the VM's own stand below the
 * program's arguments on its initial stack (tests/run/exact.sh gives them to the stepper).
 *
 *     VM's path \0 --vm=... \0 ... \0 -- \0 PROGRAM \0 | argv[0]
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    (void)argc;
    const char *at = argv[0];
    const char *last = argv[0];
    unsigned words = 0;
    while (words < 64) {
        for (at--; at[-1] != '\0'; at--)
            ;
        words++;
        if (strncmp(last, "--vm=", 5) == 0)
            break; /* `at` is the word before it: the first */
        last = at;
    }
    printf("%ld %u\n", (long)(argv[0] - at), words);
    return 0;
}

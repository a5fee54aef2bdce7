/* hello.c: the least. SPDX-License-Identifier: MIT */
#include <stdio.h>

int main(void)
{
    puts("hello");
    return 3;
}

# --values: the numbers are exactly what the program did.
set -u
CC=${CC:-cc}
failed=0

fail() {
    echo "$*"
    failed=1
}

# Each instruction that is observed stands at a symbol of its own, s_*.
cat >values.c <<'C'
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N(x) __attribute__((noinline, noclone)) x
static N(uint64_t) div64(uint64_t a, uint64_t b)
{
    uint64_t q, r;
    __asm__ volatile(".globl s_div\ns_div: divq %3" : "=a"(q), "=d"(r) : "0"(a), "r"(b), "1"(0));
    return q;
}
static N(int) idiv32(int a, const int *b)
{
    int q, r;
    __asm__ volatile("cltd\n.globl s_idiv\ns_idiv: idivl %3" : "=a"(q), "=&d"(r) : "0"(a), "m"(*b));
    return q;
}
static N(int) div8(unsigned a, unsigned char b)
{
    __asm__ volatile("movb %%cl, %%ch\n.globl s_div8\ns_div8: divb %%ch" : "+a"(a), "+c"(b));
    return (int)a;
}
static N(uint64_t) shift(uint64_t a, int c)
{
    __asm__ volatile(".globl s_shl\ns_shl: shlq %%cl, %0" : "+r"(a) : "c"(c));
    return a;
}
static N(unsigned) shift_memory(unsigned *a, int c)
{
    __asm__ volatile(".globl s_sar\ns_sar: sarl %%cl, %0" : "+m"(*a) : "c"(c));
    return *a;
}
static N(uint64_t) shift_double(uint64_t a, uint64_t b, int c)
{
    __asm__ volatile(".globl s_shld\ns_shld: shldq %%cl, %1, %0" : "+r"(a) : "r"(b), "c"(c));
    return a;
}
static N(uint64_t) shift_vex(uint64_t a, uint64_t c)
{
    __asm__ volatile(".globl s_shlx\ns_shlx: shlxq %1, %0, %0" : "+r"(a) : "r"(c));
    return a;
}
static N(void) repeat(char *to, const char *from, size_t n)
{
    __asm__ volatile(".globl s_rep\ns_rep: rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}
static N(size_t) find(const char *at, size_t n)
{
    __asm__ volatile("cld\n.globl s_scas\ns_scas: repne scasb" : "+D"(at), "+c"(n) : "a"(0) : "memory", "cc");
    return n;
}
/* A jump through a table of offsets, as compilers make it, and one of addresses. */
__asm__(".text\n.type jump,@function\njump: leaq table(%rip), %rdx\nmovslq (%rdx,%rdi,4), %rax\naddq %rdx, %rax\n"
        ".globl s_jump\ns_jump: jmp *%rax\n"
        "j0: movl $5,%eax\nret\nj1: movl $6,%eax\nret\nj2: movl $7,%eax\nret\n"
        ".section .rodata\n.p2align 2\ntable: .long j0-table, j1-table, j2-table\n.text\n");
extern int jump(long i);
/* Every load of a loop: the element, and one that goes two by two. */
static N(long) walk(const long *a, const int *b, long n)
{
    long sum = 0, i = 0;
    __asm__ volatile("1:\n.globl s_load8\ns_load8: addq (%2,%1,8), %0\n"
                     ".globl s_load4\ns_load4: movslq (%3), %%rax\naddq $-8, %3\naddq %%rax, %0\n"
                     "testq $1, %1\njz 2f\n.globl s_odd\ns_odd: movq 8(%2,%1,8), %%rax\n2:\n"
                     "addq $1, %1\ncmpq %4, %1\njne 1b"
                     : "+r"(sum), "+r"(i), "+r"(a), "+r"(b) : "r"(n) : "rax", "memory", "cc");
    return sum;
}
static long words[400];
static int ints[900];
static volatile size_t lengths[] = { 33, 4000, 16, 17, 8 };
static char from[9000], to[9000];
static void *in_thread(void *unused)
{
    for (int i = 0; i < 5000; i++)
        div64(1000, (uint64_t)(11 + i % 2));
    return unused;
}
int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "one";
    long sum = 0;
    if (strcmp(how, "threads") == 0) {
        pthread_t t[4];
        for (int i = 0; i < 4; i++)
            pthread_create(&t[i], NULL, in_thread, NULL);
        for (int i = 0; i < 4; i++)
            pthread_join(t[i], NULL);
        return 0;
    }
    int rounds = strcmp(how, "long") == 0 ? 100 : 1;
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < 100; i++)
            sum += (long)div64(1000, i < 60 ? 7 : i < 90 ? 10 : (uint64_t)1 << 40);
        for (int i = 0; i < 40; i++) {
            int d = i < 30 ? -3 : 4;
            sum += idiv32(1000, &d);
        }
        for (int i = 0; i < 30; i++)
            sum += div8(100, (unsigned char)(i < 20 ? 200 : 9));
        for (int i = 0; i < 50; i++) {
            unsigned word = 0x80000000u;
            sum += (long)shift(1, i < 40 ? 3 : 64 + 5) + shift_memory(&word, i < 10 ? 32 + 1 : 4);
            sum += (long)shift_double(1, 2, i < 25 ? 8 : 9);
            if (__builtin_cpu_supports("bmi2"))
                sum += (long)shift_vex(1, i < 45 ? 2 : 66);
        }
        for (int i = 0; i < 20; i++) {
            repeat(to, from, i < 15 ? 100 : 0);
            sum += (long)find(from, 64);
        }
        for (int i = 0; i < 70; i++)
            sum += jump(i < 40 ? 1 : i < 65 ? 2 : 0);
        sum += walk(words, ints + 850, 300);
    }
    for (int i = 0; i < 60; i++) {
        __asm__ volatile(".globl s_copy\ns_copy:" : : : "memory");
        memcpy(to, from, lengths[i / 50]);
        sum += to[0];
    }
    for (int i = 0; i < 25; i++)
        sum += memcmp(to, from, lengths[2 + i / 20]) + strncmp(to, from, lengths[4]);
    if (strcmp(how, "child") == 0) {
        if (fork() == 0) {
            for (int i = 0; i < 10; i++)
                div64(5, 99);
            _exit(0);
        }
        wait(NULL);
    }
    if (strcmp(how, "kill") == 0) {
        fflush(stdout);
        kill(getpid(), 9);
    }
    printf("%ld\n", sum);
    return 0;
}
C
sed -i 's|#include <pthread.h>|&\n#include <signal.h>|' values.c
$CC -O1 -fno-builtin -fcf-protection=none -Wl,-z,norelro -w -o values values.c -lpthread || exit 1
./values >native.out

# profile NAME ARGUMENTS...: into NAME.rsp and NAME.txt
profile() {
    name=$1
    shift
    timeout 120 "$RESPIN" profile --values -o "$name.rsp" "$@" >"$name.out" 2>"$name.err"
    status=$?
    "$RESPIN" report --records "$name.rsp" >"$name.txt" || fail "$name: no records"
    return $status
}
at() {
    printf '0x%x' 0x"$(nm values | awk -v name="$1" '$3 == name {print $1}')"
}
# expect NAME KIND SYMBOL REST: the site's line says REST
expect() {
    line=$(awk -v path="$PWD/values" -v kind="$2" -v at="$(at "$3")" \
        '/^module /{on = ($2 == path)} on && $1 == "value" && $2 == kind && $3 == at' "$1.txt")
    [ "$line" = "value $2 $(at "$3") $4" ] || fail "$1: $3: \"$line\", not \"$4\""
}

profile one --engine=threaded -- "$PWD/values" || fail "one: status $?"
cmp -s one.out native.out || fail "one: other output"
expect one divisor s_div "100 0 7:60 10:30 1099511627776:10"
expect one divisor s_idiv "40 0 18446744073709551613:30 4:10"
expect one divisor s_div8 "30 0 200:20 9:10"
expect one shift s_shl "50 0 3:40 5:10"
expect one shift s_sar "50 0 4:40 1:10"
expect one shift s_shld "50 0 8:25 9:25"
grep -qw bmi2 /proc/cpuinfo && expect one shift s_shlx "50 0 2:50"
expect one repeat s_rep "20 0 100:15 0:5"
expect one repeat s_scas "20 0 64:20"
expect one index s_jump "70 0 1:40 2:25 0:5"
# The first round of a loop is over before the loop is known: 299 of 300 executions, 298 strides.
expect one stride s_load8 "298 0 8:298"
expect one stride s_load4 "298 0 -8:298"
expect one stride s_odd "149 0 16:149"
lengths=$(awk -v path="$PWD/values" '/^module /{on = ($2 == path)} on && /^value length/{$3 = ""; print}' one.txt | sort)
[ "$lengths" = "$(printf 'value length  25 0 16:20 17:5\nvalue length  25 0 8:25\nvalue length  60 0 33:50 4000:10')" ] ||
    fail "one: lengths: $lengths"
"$RESPIN" report -n 9999 one.rsp | grep -q 'divisor.* 7 60.0%  10 30.0%' || fail "one: not in the report"
"$RESPIN" info one.rsp | grep -q '^  values  ' || fail "one: not in info"

# Counts are the same with and without.
"$RESPIN" profile -o without.rsp -- "$PWD/values" >without.out || fail "without: status $?"
[ "$("$RESPIN" info --digest one.rsp)" = "$("$RESPIN" info --digest without.rsp)" ] ||
    fail "counts differ with --values"
grep -q '^value' one.txt && "$RESPIN" report --records without.rsp | grep -q '^value' && fail "without: values"

# Four threads lose nothing; a child has its own; the killed keep theirs.
profile threads --engine=threaded -- "$PWD/values" threads || fail "threads: status $?"
expect threads divisor s_div "20000 0 11:10000 12:10000"
profile child --engine=threaded -- "$PWD/values" child || fail "child: status $?"
expect child divisor s_div "110 0 7:60 10:30 99:10 1099511627776:10"
profile kill --engine=threaded -- "$PWD/values" kill
[ $? = 137 ] || fail "kill: status $?"
expect kill divisor s_div "100 0 7:60 10:30 1099511627776:10"

# The sum of two runs.
"$RESPIN" merge -o sum.rsp one.rsp child.rsp 2>/dev/null && {
    "$RESPIN" report --records sum.rsp >sum.txt
    expect sum divisor s_div "210 0 7:120 10:60 1099511627776:20 99:10"
}

# With a code cache a site is observed 4096 times and more, but not for ever; counts are the same.
for engine in translate auto; do
    "$RESPIN" profile --engine=$engine -o /dev/null -- true 2>/dev/null || continue
    profile $engine --engine=$engine -- "$PWD/values" long || fail "$engine: status $?"
    n=$(awk -v path="$PWD/values" -v at="$(at s_div)" \
        '/^module /{on = ($2 == path)} on && $1 == "value" && $2 == "divisor" && $3 == at {print $4}' $engine.txt)
    [ "${n:-0}" -ge 4000 ] && [ "${n:-0}" -lt 5000 ] || fail "$engine: $n observations of 10000"
    "$RESPIN" profile --engine=threaded -o long.rsp -- "$PWD/values" long >long.out
    [ "$("$RESPIN" info --digest $engine.rsp)" = "$("$RESPIN" info --digest long.rsp)" ] ||
        fail "$engine: counts differ with --values"
done
exit $failed

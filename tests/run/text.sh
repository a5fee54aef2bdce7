# What a program does to its own text besides executing it: pages that were read are in the profile,
# and no others; text that was made writable is; the optimizer leaves both alone.
set -u
CC=${CC:-cc}
failed=0

fail() {
    echo "$*"
    failed=1
}

# both NAME COMMAND...: the same output and status natively and in the VM; the profile in NAME.rsp
both() {
    name=$1
    shift
    "$@" >native.out 2>native.err
    native=$?
    timeout 120 "$RESPIN" profile -o "$name.rsp" -- "$@" >vm.out 2>vm.err
    status=$?
    [ $status = $native ] || fail "$name: status $status, natively $native: $(cat vm.err)"
    cmp -s native.out vm.out || fail "$name: other output: $(diff native.out vm.out | head -3)"
    "$RESPIN" report --records "$name.rsp" >"$name.txt" || fail "$name: no records"
}

# Records of one module of NAME.txt: those after its line, up to the next module's.
of_module() {
    awk -v path="$2" '/^module /{on = ($2 == path)} on' "$1.txt"
}

# A self-test that hashes a function of its own, as FIPS modules do; the function lies in a page of
# its own. Reads by instruction, by system call, by both ends of a buffer, from threads and children.
cat >self.c <<'C'
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>
#define PAGES 3
__attribute__((aligned(4096), noinline)) long hashed(long n)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum += i * i ^ sum >> 3;
    return sum;
}
__asm__(".p2align 12\nnop\n.p2align 12\n.globl table\ntable: .fill 12288,1,0x5a\n.p2align 12\n");
extern const unsigned char table[];
__attribute__((aligned(4096), noinline)) long not_hashed(long n)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum += i * 3 ^ sum >> 5;
    return sum;
}
__attribute__((aligned(4096), noinline)) static unsigned hash(const unsigned char *at, size_t n)
{
    unsigned h = 1;
    while (n-- > 0)
        h = h * 31 + *at++;
    return h;
}
static void *in_thread(void *out)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* a fault of the VM's all the same */
    *(unsigned *)out = hash((const unsigned char *)hashed, 64);
    return out;
}
static int read_by_calls(const char *how, const unsigned char *text)
{
    if (strcmp(how, "write") == 0 && write(1, text, 16) != 16)
        return 1;
    if (strcmp(how, "span") == 0 && write(1, table + 4000, 4000) != 4000)
        return 1;
    if (strcmp(how, "vector") == 0) {
        struct iovec v[2] = { { "x", 1 }, { (void *)(table + 4000), 4000 } };
        if (writev(1, v, 2) != 4001)
            return 1;
    }
    if (strcmp(how, "message") == 0) {
        int pair[2];
        char got[5000];
        struct iovec v = { (void *)(table + 100), 5000 };
        struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || sendmsg(pair[0], &m, 0) != 5000)
            return 1;
        printf("%u\n", hash((unsigned char *)got, read(pair[1], got, 5000) == 5000 ? 0 : 1));
    }
    if (strcmp(how, "path") == 0)
        printf("%d\n", access((const char *)text, R_OK));
    if (strcmp(how, "lock") == 0)
        printf("%d\n", mlock(text, 4096));
    return 0;
}
static int read_by_others(const char *how, const unsigned char *text)
{
    if (strcmp(how, "exec") == 0) {
        char *words[] = { "sh", "-c", (char *)(table + 8192), NULL };
        execv("/bin/false", words);
        return 1;
    }
    if (strcmp(how, "thread") == 0) {
        pthread_t t;
        unsigned h;
        pthread_create(&t, NULL, in_thread, &h);
        pthread_join(t, NULL);
        printf("%u\n", h);
    }
    if (strcmp(how, "child") == 0) {
        int status;
        if (fork() == 0)
            exit(hash(text, 64) & 127);
        wait(&status);
        printf("%d\n", WEXITSTATUS(status));
    }
    if (strcmp(how, "maps") == 0) { /* its own text is readable and executable, as one mapping */
        unsigned long start, end;
        char access[5], line[512];
        FILE *maps = fopen("/proc/self/maps", "r");
        while (fgets(line, sizeof line, maps) != NULL)
            if (sscanf(line, "%lx-%lx %4s", &start, &end, access) == 3 && start <= (unsigned long)text &&
                end > (unsigned long)text)
                printf("%s %lu\n", access, end - start);
    }
    return 0;
}
static int change(const char *how, const unsigned char *text)
{
    if (strcmp(how, "touch") == 0) /* nothing but the protection that it has */
        printf("%d\n", mprotect((void *)text, 4096, PROT_READ | PROT_EXEC));
    if (strcmp(how, "made-writable") == 0 || strcmp(how, "written") == 0) {
        if (mprotect((void *)text, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
            return 1;
        if (strcmp(how, "written") == 0)
            *(volatile unsigned char *)text = *(volatile unsigned char *)text;
        if (mprotect((void *)text, 4096, PROT_READ | PROT_EXEC) != 0)
            return 1;
    }
    if (strcmp(how, "crash") == 0)
        *(volatile unsigned char *)text = 1; /* writing to text is the guest's own fault */
    return 0;
}
int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "none";
    const unsigned char *text = (const unsigned char *)hashed;
    printf("%ld %ld\n", hashed(3000000), not_hashed(3000000));
    fflush(stdout);
    if (strcmp(how, "load") == 0)
        printf("%u\n", hash(text, 64));
    return read_by_calls(how, text) != 0 || read_by_others(how, text) != 0 || change(how, text) != 0;
}
C
$CC -O1 -fcf-protection=none -o self self.c -lpthread || exit 1
$CC -O1 -fcf-protection=none -static -o self-static self.c -lpthread || exit 1
page_of() {
    printf '0x%x' $((0x$(nm self | awk -v name="$1" '$3 == name {print $1}') / 4096 * 4096 + $2))
}
hashed=$(page_of hashed 0)
table=$(page_of table 0)
table2=$(page_of table 4096)

pages() {
    of_module "$1" "$PWD/self" | awk '$1 == "read-page" {print $2}' | tr '\n' ' '
}
expect() {
    how=$1
    want=$2
    both "$how" "$PWD/self" "$how"
    got=$(pages "$how")
    [ "$got" = "$want" ] || fail "$how: pages read: \"$got\", not \"$want\""
}
expect none ""
expect load "$hashed "
expect write "$hashed "
expect span "$table $table2 "
expect vector "$table $table2 "
expect message "$table $table2 "
expect path "$hashed "
expect thread "$hashed "
expect child "$hashed "
expect maps ""
expect lock ""
expect touch ""
both exec "$PWD/self" exec
both crash "$PWD/self" crash
both static "$PWD/self-static" load
grep -q '^read-page ' static.txt || fail "static: no page was read"
for how in made-writable written; do
    both $how "$PWD/self" $how
    of_module $how "$PWD/self" | grep -qx text-written || fail "$how: not said"
done
grep -qx text-written load.txt && fail "load: text-written"

# A segment that is writable and executable from the start: only a write to its code counts.
cat >rwx.c <<'C'
#include <stdint.h>
#include <stdio.h>
__attribute__((noipa, aligned(64))) int one(void) { return 1; }
int main(int argc, char **argv)
{
    int before = one();
    uint8_t *code = (uint8_t *)one;
    for (int i = 0; argc > 1 && i < 16; i++)
        if (code[i] == 0xb8) { /* mov eax, 1 */
            code[i + 1] = 7;
            break;
        }
    printf("%d %d\n", before, one());
    return 0;
}
C
$CC -O1 -fcf-protection=none -o rwx rwx.c || exit 1
python3 - rwx <<'P'
import struct, sys
data = bytearray(open(sys.argv[1], "rb").read())
table, n = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
for at in range(table, table + 56 * n, 56):
    if struct.unpack_from("<II", data, at) == (1, 5):  # PT_LOAD, R-X
        data[at + 4] = 7
open(sys.argv[1], "wb").write(data)
P
both rwx-quiet "$PWD/rwx"
both rwx-writes "$PWD/rwx" now
grep -qx '1 7' vm.out || fail "rwx: $(cat vm.out)"
of_module rwx-quiet "$PWD/rwx" | grep -qx text-written && fail "rwx-quiet: text-written"
of_module rwx-writes "$PWD/rwx" | grep -qx text-written || fail "rwx-writes: not said"

# What is not read or written costs nothing of the profile: the C library's text was read by nobody.
of_module none "$(ldd self | awk '/libc.so/ {print $3}')" | grep -q '^read-page' && fail "libc's text was read"

# The optimizer: a function in a page that was read stays, its neighbour goes; text that was written
# is refused. An optimized program still finds its hash right.
"$RESPIN" optimize self -p load.rsp -o load.fast --explain >load.explain 2>&1 || fail "load: $(cat load.explain)"
./self load >self.out
./load.fast load >fast.out || fail "load.fast: status $?"
cmp -s self.out fast.out || fail "load.fast: $(cat fast.out), not $(cat self.out)"
grep -q 'text-read' load.explain || fail "load: text-read is not said: $(cat load.explain)"
"$RESPIN" optimize self -p none.rsp -o none.fast >none.explain 2>&1 || fail "none: $(cat none.explain)"
./none.fast load | cmp -s - self.out && fail "none.fast: hashed is not patched, so this test shows nothing"
"$RESPIN" optimize self -p written.rsp -o written.fast >written.explain 2>&1
[ $? = 4 ] || fail "written: not refused"
grep -q 'text-written' written.explain || fail "written: $(cat written.explain)"
exit $failed

# The profile survives what happens to the guest, and the guest what happens to the profile.
set -u
CC=${CC:-cc}
failed=0

fail() {
    echo "$*"
    failed=1
}

# A profile that can be read, and that says it counted something.
readable() {
    "$RESPIN" report "$1" >report.out 2>report.err || fail "$2: not readable: $(cat report.err)"
}

cat >spin.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    volatile long n = 0;
    long rounds = argc > 2 ? atol(argv[2]) : -1;
    if (argc > 1 && fork() != 0)
        return 0;
    puts("ready");
    fflush(stdout);
    for (long i = 0; i != rounds; i++)
        n += i;
    puts("done");
    return 0;
}
C
$CC -O1 -o spin spin.c || exit 1

# SIGKILL of the guest: the live file is whole.
mkfifo ready
"$RESPIN" profile -o kill.rsp -- ./spin >ready 2>kill.err &
guest=$!
read -r word <ready
[ "$word" = ready ] || fail "kill: the guest did not start"
sleep 0.3
kill -KILL $guest
wait $guest 2>/dev/null
[ $? = 137 ] || fail "kill: the status is not 137"
readable kill.rsp kill

# A guest that dies of a signal of its own.
"$RESPIN" profile -o abort.rsp -- sh -c 'kill -ABRT $$' 2>/dev/null
[ $? = 134 ] || fail "abort: the status is not 134"
readable abort.rsp abort

# The end of a child that was started by vfork is not the end of the run.
cat >parent.c <<'C'
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
extern char **environ;
int main(int argc, char **argv)
{
    char *const child[] = { argv[0], "child", NULL };
    char magic[9] = "";
    pid_t pid;
    if (argc > 2)
        return 0;
    if (posix_spawn(&pid, argc > 1 ? "/bin/true" : "/proc/self/exe", NULL, NULL, child, environ) != 0)
        return 1;
    waitpid(pid, NULL, 0);
    FILE *live = fopen("spawn.rsp", "r");
    printf("%s%zu %s\n", argc > 1 ? "child " : "", fread(magic, 1, 8, live), magic);
    return 0;
}
C
$CC -O1 -o parent parent.c || exit 1
"$RESPIN" profile -o spawn.rsp -- ./parent >spawn.out 2>spawn.err
printf 'child 8 RSPNLVE1\n8 RSPNLVE1\n' | cmp -s - spawn.out || fail "spawn: $(cat spawn.out)"
readable spawn.rsp spawn

# A child that outlives the first process: its counts are added whenever the profile is read.
"$RESPIN" profile -o late.rsp -- ./spin x 5000000 >late.out 2>late.err || fail "late: status $?"
readable late.rsp "late, before"
for i in $(seq 300); do
    grep -q done late.out && break
    sleep 0.2
done
grep -q done late.out || fail "late: the child did not go on"
sleep 0.3
readable late.rsp "late, after"

# Many children: their files are summed up on the way, and each is counted once.
cat >many.c <<'C'
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noipa)) int once(int i)
{
    return i + 1;
}
int main(void)
{
    for (int i = 0; i < 400; i++) {
        if (fork() == 0)
            _exit(once(i) & 1);
        wait(NULL);
    }
    return system("ls | grep -c '^many.rsp' >files");
}
C
$CC -O1 -w -o many many.c || exit 1
"$RESPIN" profile -o many.rsp -- ./many 2>many.err || fail "many: status $? $(cat many.err)"
[ "$(cat files)" -lt 300 ] || fail "many: $(cat files) files at once"
"$RESPIN" report --records many.rsp >many.txt
python3 "$SOURCE/tests/support/function_counts.py" many.txt many once=400 >many.counts || fail "many: $(cat many.counts)"
[ "$(ls | grep -c '^many.rsp')" = 1 ] || fail "many: $(ls | grep '^many.rsp')"

# A folder that cannot be written is known before the run.
"$RESPIN" profile -o /nonexistent/folder/x.rsp -- sh -c 'echo out; exit 6' >nowhere.out 2>nowhere.err
[ $? = 5 ] && [ ! -s nowhere.out ] || fail "no folder: the guest was run"
grep -q 'folder/x.rsp: no file can be made' nowhere.err || fail "no folder: no word about it"

# A file size limit, reached as a full disk is: no SIGXFSZ for the guest.
(ulimit -f 200 && "$RESPIN" profile -o small.rsp -- sh -c 'echo out; exit 6' >small.out 2>small.err)
[ $? = 6 ] && [ "$(cat small.out)" = out ] || fail "file limit: the guest was disturbed"
grep -q 'cannot grow' small.err || fail "file limit: no word about it"
readable small.rsp "file limit"

# A full disk.
mkdir -p full
if mount -t tmpfs -o size=700k tmpfs full 2>/dev/null; then
    "$RESPIN" profile -o full/x.rsp -- perl -e 'print join(",", sort map { $_ * 7 % 101 } 1..100), "\n"; exit 7' \
        >full.out 2>full.err
    [ $? = 7 ] || fail "full disk: the guest was disturbed"
    perl -e 'print join(",", sort map { $_ * 7 % 101 } 1..100), "\n"' | cmp -s - full.out ||
        fail "full disk: its output differs"
    grep -q 'cannot grow' full.err || fail "full disk: no word about it"
    readable full/x.rsp "full disk"
    umount full
fi

# A server that gives up its rights goes on counting, also in a new root.
cat >rights.c <<'C'
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noipa)) int afterwards(int i)
{
    char text[64];
    return snprintf(text, sizeof text, "%d %g", i, i * 0.5) > 2;
}
int main(int argc, char **argv)
{
    for (int i = 0; i < 2; i++)
        if (fork() == 0) {
            if (i == 1 && chroot(".") != 0)
                _exit(1);
            if (setgid(65534) != 0 || setuid(65534) != 0)
                _exit(2);
            int n = 0;
            for (int j = 0; j < 100; j++)
                n += afterwards(j);
            _exit(n != 100);
        }
    int status, bad = 0;
    while (wait(&status) > 0)
        bad += status != 0;
    return bad;
}
C
if [ "$(id -u)" = 0 ]; then
    $CC -O1 -w -o rights rights.c || exit 1
    "$RESPIN" profile -o rights.rsp -- ./rights 2>rights.err || fail "rights: status $? $(cat rights.err)"
    "$RESPIN" report --records rights.rsp >rights.txt
    python3 "$SOURCE/tests/support/function_counts.py" rights.txt rights afterwards=200 >rights.counts 2>&1 ||
        fail "rights: $(cat rights.counts)"
    [ ! -s rights.err ] || fail "rights: $(cat rights.err)"
fi

# --no-follow: the child runs natively, and so is not in the profile.
"$RESPIN" profile --no-follow -o alone.rsp -- sh -c '/bin/echo child; exit 8' >alone.out 2>&1
[ $? = 8 ] && [ "$(cat alone.out)" = child ] || fail "no-follow: $(cat alone.out)"

# A script as the program, and one that is none.
printf '#!/bin/sh\necho script "$0" "$1"\nexit 9\n' >script
chmod +x script
"$RESPIN" profile -o script.rsp -- ./script word >script.out 2>&1
[ $? = 9 ] && [ "$(cat script.out)" = 'script ./script word' ] || fail "script: $(cat script.out)"
echo 'not a program' >text
chmod +x text
"$RESPIN" profile -o text.rsp -- ./text >text.out 2>&1
[ $? = 4 ] || fail "text: status is not 4: $(cat text.out)"

# A program that filters its system calls leaves the VM, and lives.
$CC -O1 -o filter "$SOURCE/tests/run/guests_noisy/filter.c" || exit 1
./filter >filter.native
"$RESPIN" profile -o filter.rsp -- ./filter >filter.out 2>filter.err
[ $? = 17 ] && cmp -s filter.native filter.out || fail "filter: $(cat filter.out filter.err)"
grep -q 'runs on natively' filter.err || fail "filter: no word about it"
readable filter.rsp filter

# No descriptor of the VM's stays open in the guest.
"$RESPIN" profile -o fd.rsp -- ls /proc/self/fd >fd.out 2>&1
ls /proc/self/fd >fd.native
cmp -s fd.out fd.native || fail "descriptors: $(cat fd.out)"
exit $failed

#!/bin/sh
# The respin command: verbs, options, help, exit statuses (design.md 4), streams.
# SPDX-License-Identifier: MIT
set -u
failed=0

# expect STATUS PATTERN COMMAND...: exit status, and a line of standard output or error that matches
expect() {
    status=$1 pattern=$2
    shift 2
    "$@" > out.txt 2> err.txt < /dev/null
    got=$?
    if [ $got != "$status" ] || ! cat out.txt err.txt | grep -qE -- "$pattern"; then
        failed=$((failed + 1))
        echo "FAIL: $*: status $got, wanted $status and '$pattern'; it said:"
        cat out.txt err.txt
    fi
}

expect 2 '^usage: respin VERB' "$RESPIN"
[ ! -s out.txt ] || { echo "FAIL: usage after bad use went to standard output"; failed=1; }
expect 0 '^usage: respin VERB' "$RESPIN" help
expect 0 '^usage: respin VERB' "$RESPIN" --help
expect 0 '^usage: respin info' "$RESPIN" help info
expect 0 '^usage: respin info' "$RESPIN" info --help
expect 2 'no such verb: bogus' "$RESPIN" help bogus
expect 2 'no such verb: bogus' "$RESPIN" bogus
expect 0 '^respin [0-9]+\.' "$RESPIN" --version
for list in refusals passes forms; do
    expect 0 . "$RESPIN" --list-$list
done

expect 2 'wants one FILE' "$RESPIN" info
expect 2 "wants only one FILE: 'b'" "$RESPIN" info a b
expect 2 "wants no BINARY beside --all: 'a'" "$RESPIN" optimize a -p p --all=d
expect 2 'unknown option --bogus' "$RESPIN" info --bogus a
expect 2 'unknown option -x' "$RESPIN" info -x a
expect 2 '--digest takes no value' "$RESPIN" info --digest=1 a
expect 2 "--pairs wants a number, not 'x'" "$RESPIN" compare a b -nx
expect 2 "--pairs wants a number, not '-1'" "$RESPIN" compare a b -n -1
expect 2 '--cpu wants N' "$RESPIN" compare a b --cpu
expect 2 'CPU 99999 cannot be used' "$RESPIN" compare a b --cpu=99999
expect 3 'not a profile' "$RESPIN" info /etc/passwd
expect 5 'No such file' "$RESPIN" info nowhere
expect 5 'cannot write standard output' sh -c '"$RESPIN" info /bin/true > /dev/full'
expect 0 'executable, dynamic' "$RESPIN" info /usr/bin/perl
expect 0 '"type": "image"' "$RESPIN" info --json /usr/bin/perl
head -c 3000 /usr/bin/perl > cut
expect 3 'cut: .*run past the end of the file' "$RESPIN" info cut
expect 2 '--digest is for profiles' "$RESPIN" info --digest cut

# compare: equal, different output, different status, not startable
compare='compare --no-model -n 3'
expect 0 '^same +standard output and exit status 0' "$RESPIN" $compare /bin/true /bin/true
expect 0 'exit status 3' "$RESPIN" $compare "sh -c 'exit 3'" 'bash -c "exit 3"'
expect 1 'differs from byte 2' "$RESPIN" $compare 'echo abc' 'echo abd'
expect 1 'differs from byte 4' "$RESPIN" $compare 'echo abc' 'sh -c "echo abc; echo"'
expect 1 'after ended with exit status 1, before with exit status 0' "$RESPIN" $compare true false
expect 1 'after ended with signal 15' "$RESPIN" $compare true 'sh -c "kill -TERM \$\$"'
expect 5 "cannot run 'nowhere': No such file" "$RESPIN" $compare nowhere true
expect 3 'unclosed quote' "$RESPIN" $compare "echo 'a" true
expect 0 '"same": true' "$RESPIN" $compare --json /bin/echo 'X=1 /bin/echo' -- a 'b c'
printf 'one\ntwo\n' > input
expect 0 '^same' "$RESPIN" $compare --stdin input cat 'cat -'
expect 0 '^same' "$RESPIN" $compare 'cat < input' 'cat input'
expect 0 '^same' sh -c 'printf "one\ntwo\n" | "$RESPIN" compare --no-model -n 3 cat "cat input"'
expect 1 'differs from byte 3' sh -c 'echo one | "$RESPIN" compare --no-model -n 3 "tr -d \"\\n\"" cat'

[ $failed = 0 ] || exit 1
echo "cli: all as they should be"

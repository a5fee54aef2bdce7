#!/bin/bash
# jobs.bash: traps, job control and the rest of a shell's work, on a terminal; what it prints is the
# same in every run. No process id, time or path of a machine is printed.
# SPDX-License-Identifier: MIT

section() {
    printf '== %s\n' "$*"
}

say() {
    printf '%s\n' "$*"
}

# until_state PID STATE: waits until /proc says so (T stopped, S asleep, gone). Outside the shell: a
# loop of its own would end when it learns of a stopped child.
until_state() {
    sh -c 'n=0
        while [ $n -lt 500 ]; do
            state=$(sed -e "s/.*) //" -e "s/ .*//" "/proc/$1/stat" 2> /dev/null)
            [ "$state" = Z ] && state=
            [ "${state:-gone}" = "$2" ] && exit 0
            n=$((n + 1))
            sleep 0.02
        done
        echo "process is ${state:-gone}, not $2"
        exit 1' sh "$1" "$2"
}

# ended PID: its status, when it has ended (stopping is no end)
ended() {
    until_state "$1" gone
    wait "$1"
}

# until_file FILE: waits until it is there
until_file() {
    local tries=500
    while ((tries-- > 0)) && [[ ! -e $1 ]]; do
        sleep 0.02
    done
}

group_of() {
    sed -e 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 3
}

foreground_group() {
    sed -e 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 6
}

# ---------------------------------------------------------------------------------------------
section "words and arrays"

declare -A color=([apple]=red [pear]=green [plum]=blue)
declare -a list=(one "two words" three)
for key in $(printf '%s\n' "${!color[@]}" | sort); do
    say "$key is ${color[$key]}"
done
say "${#list[@]} ${list[1]} ${list[*]:0:2}"
list+=(four)
unset 'list[0]'
say "${!list[@]}"
text="The quick brown fox"
say "${text^^} ${text,,} ${text//o/0} ${text#* } ${text%% *} ${text: -3} ${#text}"
say $((7 * 6)) $((2 ** 40)) $((0x1f | 0100)) $((17 % 5)) $((-17 / 5))
[[ $text =~ ([a-z]+)\ ([a-z]+)$ ]] && say "matched ${BASH_REMATCH[1]} and ${BASH_REMATCH[2]}"
case $text in
    *slow*) say "slow" ;;
    *quick*) say "quick" ;;
esac
printf '%05d %x %8.3f %-6s| %q\n' 42 255 3.14159 left "a b'c"
IFS=: read -r a b c <<< "x:y:z:w"
say "$a $b $c"
mapfile -t lines < <(seq 5 9)
say "${lines[@]}" "${#lines[@]}"
brace=({a..e}{1..2})
say "${brace[*]}"
select_first() {
    local -n target=$1
    target="by reference"
}
select_first chosen
say "$chosen"

# ---------------------------------------------------------------------------------------------
section "functions and recursion"

fib() {
    if (($1 < 2)); then
        result=$1
        return
    fi
    local first
    fib $(($1 - 1))
    first=$result
    fib $(($1 - 2))
    result=$((first + result))
}
fib 15
say "fib 15 is $result"

sieve() {
    local -a mark
    local i j n=$1 out=
    for ((i = 2; i <= n; i++)); do
        [[ -n ${mark[i]} ]] && continue
        out+="$i "
        for ((j = i * i; j <= n; j += i)); do
            mark[j]=1
        done
    done
    say "$out"
}
sieve 100

hanoi() {
    (($1 == 0)) && return
    hanoi $(($1 - 1)) "$2" "$4" "$3"
    moves=$((moves + 1))
    hanoi $(($1 - 1)) "$4" "$3" "$2"
}
moves=0
hanoi 7 A B C
say "hanoi 7 takes $moves moves"

sort_words() {
    local -a words=("$@")
    local i j swap
    for ((i = 0; i < ${#words[@]}; i++)); do
        for ((j = i + 1; j < ${#words[@]}; j++)); do
            if [[ ${words[j]} < ${words[i]} ]]; then
                swap=${words[i]} words[i]=${words[j]} words[j]=$swap
            fi
        done
    done
    say "${words[*]}"
}
sort_words pear apple zebra mango kiwi banana

# ---------------------------------------------------------------------------------------------
section "pipelines, substitutions, documents"

seq 1 1000 | awk '{ s += $1 } END { print s }'
seq 1 100 | grep -c 7
printf 'b\na\nc\n' | sort -r | tr '\n' ' ' | sed 's/ $/\n/'
false | true | false
say "statuses ${PIPESTATUS[*]}"
set -o pipefail
false | true
say "with pipefail $?"
set +o pipefail
diff <(seq 3) <(seq 2 4)
say "diff $?"
cat << END
document $((1 + 1)) ${text%% *}
END
cat << 'END'
document $((1 + 1)) as it is
END
echo "to a process" > >(cat > substituted)
until_file substituted
sleep 0.1
cat substituted
exec 5> held
echo "through 5" >&5
exec 5>&-
cat held
exec 6<> held
read -r line <&6
say "read $line"
exec 6>&-
{
    echo out
    echo err >&2
} 2>&1 | sort
yes | head -n 3 | tr '\n' ' '
say
(exit 7)
say "subshell $?"
value=$(echo inner; exit 3)
say "$value $?"
head -c 200000 /dev/zero | wc -c

# ---------------------------------------------------------------------------------------------
section "traps"

trap 'say "got USR1"' USR1
trap 'say "got USR2, status $?"' USR2
kill -USR1 $$
false
kill -USR2 $$
(
    trap 'say "subshell EXIT"' EXIT
    kill -USR1 $BASHPID 2> /dev/null
    say "not reached: USR1 has its default here"
)
say "subshell ended $?"
trap '' USR1
kill -USR1 $$
say "ignored USR1"
(
    kill -USR1 $BASHPID
    say "ignored in the subshell, too"
)
trap - USR1
trap -p USR2

counted=0
trap 'counted=$((counted + 1))' USR1
for i in {1..50}; do
    kill -USR1 $$
done
say "counted $counted"
for i in {1..20}; do
    (kill -USR1 $$)
done
say "counted $counted with subshells"
trap - USR1

with_return() {
    trap 'say "RETURN from ${FUNCNAME[0]}"' RETURN
    say "inside"
    trap - RETURN
}
with_return
returning() {
    say "returning"
}
declare -ft returning
trap 'say "returned"' RETURN
returning
trap - RETURN

trap 'errors=$((errors + 1))' ERR
errors=0
false
true
false || true
(exit 4)
say "errors $errors"
trap - ERR

steps=0
trap 'steps=$((steps + 1))' DEBUG
a=1
b=2
c=$((a + b))
trap - DEBUG
say "steps $steps"

bash -c 'trap "echo bye" EXIT; exit 5'
say "exit trap $?"
bash -c 'trap "echo term; exit 9" TERM; kill -TERM $$; echo not reached'
say "term trap $?"
{ bash -c 'kill -TERM $$'; } 2> /dev/null
say "term $?"
{ bash -c 'ulimit -c 0; kill -ABRT $$'; } 2> /dev/null
say "abort $?"
{ bash -c 'kill -KILL $$'; } 2> /dev/null
say "kill $?"
bash -ec 'echo before; false; echo after'
say "errexit $?"
bash -uc 'echo "$undefined"; echo after' 2> /dev/null
say "nounset $?"

trap 'children=$((children + 1))' CHLD
children=0
for i in {1..5}; do
    sh -c 'exit 0'
done
say "at least some children: $((children > 0))"
trap - CHLD

# A trap that comes while the shell waits, and one while it reads.
trap 'say "woken"' USR1
(
    sleep 0.5
    kill -USR1 $$
    sleep 0.3
    exit 12
) &
sleeper=$!
wait $sleeper
say "wait gave $(($? > 128))"
wait $sleeper
say "then $?"
mkfifo pipe
(
    exec > pipe
    sleep 0.2
    kill -USR1 $$
    sleep 0.2
    echo "a line"
) &
read -r line < pipe
say "read after the signal: $line"
wait
trap - USR1
read -r -t 0.2 line < <(sleep 1)
say "timed out: $(($? > 128))"
wait

# ---------------------------------------------------------------------------------------------
section "background jobs without job control"

for i in 1 2 3; do
    (exit $((i * 10))) &
    pids[i]=$!
done
for i in 1 2 3; do
    wait "${pids[i]}"
    say "job $i: $?"
done
(sleep 0.1; exit 21) &
wait -n
say "wait -n $?"
wait -n
say "nothing left $?"
total=0
for i in {1..12}; do
    (exit "$i") &
    many[i]=$!
done
for i in {1..12}; do
    wait "${many[i]}"
    total=$((total + $?))
done
say "total $total"

# ---------------------------------------------------------------------------------------------
section "coprocess"

coproc upper { while read -r line; do echo "${line^^}"; done; }
echo "hello there" >&"${upper[1]}"
read -r line <&"${upper[0]}"
say "$line"
echo "again" >&"${upper[1]}"
read -r line <&"${upper[0]}"
say "$line"
upper_pid=$upper_PID
exec {upper[1]}>&-
wait "$upper_pid"
say "coprocess $?"

# ---------------------------------------------------------------------------------------------
section "job control"

exec 9>&2 2> errors # what the shell says of its jobs holds process ids
set -m
[[ -t 0 ]] && say "standard input is a terminal"
sleep 60 &
job=$!
[[ $(group_of $job) == "$job" ]] && say "the job has a group of its own"
[[ $(foreground_group $$) == $(group_of $$) ]] && say "the shell has the terminal"
jobs | sed 's/ *&$//'
kill -STOP %1
until_state $job T
say "stopped"
jobs
kill -CONT %1
until_state $job S
say "goes on"
kill %1
ended $job
say "ended by $?"

# A job that stops itself, and goes on in the foreground.
bash -c 'echo first half; kill -STOP $$; echo second half; exit 6' &
job=$!
until_state $job T
fg %% > /dev/null
say "foreground $?"

# …and in the background.
bash -c 'kill -TSTP $$; echo in the background; exit 8' &
job=$!
until_state $job T
bg %% > /dev/null
wait $job
say "background $?"

# Reading the terminal from the background stops the job (SIGTTIN); writing its settings, too (SIGTTOU).
bash -c 'trap "echo ttin; exit 11" TTIN; read -r x < /dev/tty; echo "read came back $?"' &
job=$!
wait $job
say "reader $?"
cat < /dev/tty > /dev/null &
job=$!
until_state $job T
say "cat is stopped by the terminal"
kill -KILL $job
ended $job
say "cat $?"
stty -echo < /dev/tty &
job=$!
until_state $job T
say "stty is stopped by the terminal"
kill -KILL $job
ended $job
say "stty $?"

# The foreground job has the terminal, and gives it back.
bash -c '[[ $(sed -e "s/.*) //" /proc/$$/stat | cut -d " " -f 6) == $$ ]] && echo "foreground job has the terminal"'
[[ $(foreground_group $$) == $(group_of $$) ]] && say "and the shell has it again"

# A pipeline is one job, with one group.
sleep 50 | sleep 51 | sleep 52 &
job=$!
leader=$(group_of $job)
[[ $leader != "$job" ]] && say "the pipeline's group is its first process's"
kill -INT -- -"$leader"
ended $job
say "pipeline $?"

# Signals to a group reach every process of it.
rm -f up.*
bash -c 'trap "echo child one; exit 1" USR1; : > up.1; while :; do sleep 0.05; done' > out.1 &
bash -c 'trap "echo leader; exit 2" USR1
    bash -c "trap \"echo grandchild; exit 3\" USR1; : > up.3; while :; do sleep 0.05; done" > out.3 &
    : > up.2; wait; wait' > out.2 &
until_file up.1
until_file up.2
until_file up.3
kill -USR1 %1
wait %1
say "one $?: $(cat out.1)"
kill -USR1 -- %2
wait %2
say "two $?: $(cat out.2)"
until_file out.3
sleep 0.3
say "three: $(cat out.3)"

# Stop and go, many times.
mkfifo pipe2
bash -c 'n=0; trap "n=\$((n + 1))" CONT; : > up.4; while ((n < 10)); do read -r -t 0.02 x < pipe2; done; exit $((n >= 10))' &
job=$!
until_file up.4
exec 7<> pipe2
for i in {1..200}; do
    kill -STOP $job 2> /dev/null || break
    kill -CONT $job 2> /dev/null
    sleep 0.01
done
wait $job
say "continued ten times $?"
exec 7>&-

# Two jobs, their numbers, and what disown leaves.
sleep 70 &
first=$!
sleep 71 &
second=$!
jobs | sed 's/ *&$//'
disown %1
jobs | sed 's/ *&$//'
kill $first $second
ended $second
say "second $?"
until_state $first gone
say "first is gone"

# A stopped job whose shell ends is told so, and goes on: by the shell (SIGTERM) or the kernel (SIGHUP).
env --default-signal=HUP bash -c 'set -m
    bash -c "trap \"echo told to end > hup; exit 1\" HUP TERM; : > up.5; kill -STOP \$\$; while :; do sleep 0.05; done" &
    until [ -e up.5 ]; do sleep 0.02; done
    until grep -q " (bash) T" /proc/$!/stat; do sleep 0.02; done'
until_file hup
sleep 0.1
cat hup
set +m
exec 2>&9 9>&-
grep -E 'No such|not found|syntax|cannot' errors

# ---------------------------------------------------------------------------------------------
section "many children"

sum=0
for i in {1..40}; do
    sum=$((sum + $(expr $i '*' 2)))
done
say "sum $sum"
for i in {1..8}; do
    for j in {1..4}; do
        echo "$i$j"
    done | sort -r | head -n 1
done | paste -s -d ' '
seq 1 30 | xargs -n 1 -P 4 sh -c 'exit 0' && say "xargs $?"
find . -name 'up.*' | sort | tr '\n' ' '
say
deep() {
    if (($1 == 0)); then
        echo bottom
    else
        (deep $(($1 - 1)))
    fi
}
deep 12
exec 8< <(for i in {1..200}; do echo "$i"; done)
n=0
while read -r line <&8; do
    n=$((n + line))
done
exec 8<&-
say "read $n"
wait

trap 'say "the end, status $?"' EXIT
exit 33

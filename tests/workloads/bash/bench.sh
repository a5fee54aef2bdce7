#!/bin/bash
# Traps, functions, arrays, arithmetic, here-documents, pipes, subshells, job control by signals.
scale=${1:?scale} seed=${2:?seed}
count() { awk "BEGIN { printf \"%d\", $1 * $scale }"; }
RANDOM=$seed
trap 'echo "exit trap $?"' EXIT
trap 'usr=$((usr + 1))' USR1
usr=0
declare -A words
fib() { local n=$1; if ((n < 2)); then result=$n; else fib $((n - 1)); local a=$result; fib $((n - 2)); result=$((a + result)); fi; }
fib 15; echo "fib $result"
n=$(count 30000)
for ((i = 0; i < n; i++)); do
    key="k$((i * 7919 % 101))"
    words[$key]=$((${words[$key]:-0} + i))
    case $key in k1*) ones+=x ;; *7) sevens=$((${sevens:-0} + 1)) ;; esac
done
for key in k0 k50 k100; do echo "$key ${words[$key]}"; done
echo "${#ones} $sevens"
text=
for ((i = 0; i < n / 8; i++)); do text+="word$((RANDOM % 100)) "; done
echo "${#text} ${text//word1/W}" | cksum
[[ $text =~ word([0-9]+)\ word([0-9]+) ]] && echo "${BASH_REMATCH[2]}"
for ((i = 0; i < $(count 60); i++)); do kill -USR1 $$; done
echo "usr1 $usr"
for ((i = 0; i < $(count 40); i++)); do x=$(echo "sub $i" | tr a-z A-Z); done
echo "$x"
( trap 'echo "child term"; exit 3' TERM; kill -TERM $BASHPID; echo unreachable )
echo "status $?"
{ sleep 5 & } 2>/dev/null; kill %1; wait %1 2>/dev/null; echo "killed $?"
while read -r a b; do sum=$((${sum:-0} + a * b)); done < <(for ((i = 0; i < $(count 1000); i++)); do echo "$i $((i % 7))"; done)
echo "sum $sum"
mapfile -t lines <<EOF
$(for ((i = 0; i < 200; i++)); do echo "line $i"; done)
EOF
printf '%s\n' "${lines[@]}" | sort -r | head -3
false || (exit 7); echo "last $?"
exit 5

#!/bin/sh
# Language runtimes under the VM: compilers to memory, fault handlers used for control, stacks and
# threads of their own.
#
#   runtimes.sh BUILD [NAME…]   BUILD: folder with cli/respin; NAMEs as printed, or their beginnings
#   ENGINE=auto                 engine
#   LIMIT=900                   seconds that one run may take
#   KEEP=dir                    keeps outputs and profiles there
#
# For each: standard output and exit status equal the native ones, and `respin info` reads the
# profile. Prints one line a run with the processor time of both; exit 1 if anything differs.
# Installs the Debian packages that it needs; rustc is used where it is there.
# SPDX-License-Identifier: MIT
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?usage: runtimes.sh BUILD [NAME...]}" && pwd)
shift
wanted=${*:-}
respin=$build/cli/respin
engine=${ENGINE:-auto}
dir=${KEEP:-$(mktemp -d)}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ -n "${KEEP:-}" ] || trap 'rm -rf "$dir"' EXIT
guests=$here/guests
java=${JAVA_HOME:-/usr/lib/jvm/default-java}/bin
failed=0 passed=0

packages='nodejs default-jdk-headless golang-go ruby php-cli php8.2-opcache sbcl ocaml-nox
    ocaml-findlib ghc'
missing=
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || :)
    [ "$status" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    echo "runtimes.sh: installing$missing"
    # shellcheck disable=SC2086 # words on purpose
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        $missing > "$dir/install.log" 2>&1 || { cat "$dir/install.log"; exit 2; }
fi

is_wanted() { # NAME
    [ -n "$wanted" ] || return 0
    for start in $wanted; do
        case $1 in "$start"*) return 0 ;; esac
    done
    return 1
}

# Standard output, errors, status, and processor seconds of what ran, into FILE.*
timed() { # FILE COMMAND…
    file=$1
    shift
    timeout "${LIMIT:-900}" sh -c '"$@"; status=$?; times > "$0"; exit $status' "$file.times" "$@" \
        > "$file.out" 2> "$file.err" < /dev/null
    echo $? > "$file.status"
    awk '{ for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); sum += t[1] * 60 + t[2] } }
        END { printf "%.2f\n", sum }' "$file.times" > "$file.seconds"
}

# What stays the same from run to run: not the times that test reports print.
essence() { # FILE
    sed '/duration_ms/d' "$1.out"
    cat "$1.status"
}

# NAME COMMAND…: in a folder of its own, RUN_DIR/native and RUN_DIR/vm. The profile is checked.
compare() {
    name=$1
    shift
    is_wanted "$name" || return 0
    place=$dir/$name
    mkdir -p "$place"
    cd "$place" || exit 2
    timed "$place/native" "$@"
    timed "$place/vm" "$respin" profile --engine="$engine" -o "$place/$name.rsp" -- "$@"
    verdict=ok
    essence native > native.essence
    essence vm > vm.essence
    cmp -s native.essence vm.essence || verdict='FAIL: differs'
    "$respin" info "$name.rsp" > info 2> info.err || verdict='FAIL: no profile'
    awk -v name="$name" -v engine="$engine" -v native="$(cat native.seconds)" \
        -v vm="$(cat vm.seconds)" -v status="$(cat native.status)" -v verdict="$verdict" \
        -v instructions="$(awk '$1 == "instructions" { print $2; exit }' info)" 'BEGIN {
        printf "%-14s %s, status %d; native %.2f s, %s %.2f s, %.1fx; %.0f million instructions\n", name,
            verdict, status, native, engine, vm, vm / (native > 0.01 ? native : 0.01), instructions / 1e6 }'
    if [ "$verdict" = ok ]; then
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    diff native.essence vm.essence | head -10
    tail -5 vm.err
}

# ---- node --------------------------------------------------------------------------------------

compare node-bench node "$guests/bench.js"
compare node-test node --test "$guests/suite"

# ---- java --------------------------------------------------------------------------------------

mkdir -p "$dir/classes"
compare java-compile "$java/javac" -d "$dir/classes" "$guests/Threads.java"
[ -f "$dir/classes/Threads.class" ] || "$java/javac" -d "$dir/classes" "$guests/Threads.java"
compare java-threads "$java/java" -cp "$dir/classes" Threads
compare java-interpret "$java/java" -Xint -cp "$dir/classes" Threads

# ---- go ----------------------------------------------------------------------------------------

# The standard library is built beforehand; each run has a cache and an output of its own.
if is_wanted go-build; then
    export GOFLAGS='-trimpath -buildvcs=false -p=2' GOTOOLCHAIN=local GOPROXY=off
    mkdir -p "$dir/go"
    (cd "$guests/gomodule" && GOCACHE="$dir/go/std" go build -o /dev/null fmt sort strings)
    cat > "$dir/go/build" <<EOF
#!/bin/sh
set -e
cache=\$(mktemp -d "$dir/go/cache.XXXXXX")
cp -r "$dir/go/std/." "\$cache"
cd "$guests/gomodule"
GOCACHE=\$cache go build -o "\$cache/words"
sha256sum < "\$cache/words"
"\$cache/words"
rm -rf "\$cache"
EOF
    compare go-build sh "$dir/go/build"
fi
if is_wanted go-routines; then
    (cd "$guests" && go build -o "$dir/routines" routines.go)
    compare go-routines "$dir/routines"
fi

# ---- ruby, php ---------------------------------------------------------------------------------

compare ruby ruby "$guests/work.rb"
if ruby --yjit -e 0 2> "$dir/yjit.err"; then
    compare ruby-yjit ruby --yjit "$guests/work.rb"
fi
for mode in tracing function; do
    compare php-$mode php -d opcache.enable_cli=1 -d opcache.jit_buffer_size=32M \
        -d opcache.jit=$mode "$guests/work.php"
done

# ---- sbcl, ocaml, ghc, rust ----------------------------------------------------------------------

compare sbcl sbcl --noinform --no-sysinit --no-userinit --disable-debugger \
    --load "$guests/work.lisp"

threads='-thread -package unix,threads.posix -linkpkg'
if is_wanted ocaml; then
    mkdir -p "$dir/ml"
    cp "$guests/work.ml" "$dir/ml"
    # shellcheck disable=SC2086 # words on purpose
    (cd "$dir/ml" && ocamlfind ocamlopt $threads work.ml -o native &&
        ocamlfind ocamlc $threads work.ml -o bytes)
    compare ocaml-native "$dir/ml/native"
    compare ocaml-bytes "$dir/ml/bytes"
    compare ocaml-top ocaml -I +threads unix.cma threads.cma "$guests/work.ml"
    # shellcheck disable=SC2086 # words on purpose
    compare ocaml-compile ocamlfind ocamlopt $threads "$dir/ml/work.ml" -o "$dir/ml/again"
fi
if is_wanted ghc; then
    ghc -v0 -O -threaded -rtsopts -outputdir "$dir/hs" -o "$dir/work-hs" "$guests/Work.hs"
    compare ghc-program "$dir/work-hs"
    compare ghc-two "$dir/work-hs" +RTS -N2
fi
if is_wanted rust && command -v rustc > /dev/null; then
    rustc -O -o "$dir/work-rs" "$guests/work.rs"
    compare rust-program "$dir/work-rs"
fi

echo "runtimes.sh: $passed ok, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]

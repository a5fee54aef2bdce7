#!/bin/sh
# Builds a Debian program from its source package with relocations kept, as llvm-bolt wants it.
#
#   from_source.sh NAME DIR     NAME: lua5.4 sqlite3; the executable becomes DIR/NAME
#
# -O2, no splitting of functions, -Wl,-q, and MORE_FLAGS. The program is one executable that needs no library of its
# own. Source packages come from the machine's own Debian mirror (deb-src is asked for in a copy of
# its settings; nothing on the machine changes). SPDX-License-Identifier: MIT
set -eu
name=${1:?usage: from_source.sh NAME DIR}
dir=${2:?usage: from_source.sh NAME DIR}
mkdir -p "$dir/apt/parts" "$dir/apt/lists/partial" "$dir/$name.src"
dir=$(cd "$dir" && pwd)
flags="-O2 -fno-reorder-blocks-and-partition -w ${MORE_FLAGS:-}"

apt_source() { # PACKAGE: unpacks into $dir/NAME.src
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        [ -s "$file" ] || continue
        to=$dir/apt/parts/$(basename "$file")
        sed -e 's/^Types: deb$/Types: deb-src/' -e 's/^deb /deb-src /' "$file" > "$to"
    done
    set -- "$1" -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$dir/apt/parts" -o "Dir::State::Lists=$dir/apt/lists"
    package=$1
    shift
    apt-get -qq "$@" update
    (cd "$dir/$name.src" && apt-get -qq "$@" source --download-only "$package" && dpkg-source --no-check -x ./*.dsc tree > /dev/null)
}

[ -d "$dir/$name.src/tree" ] || apt_source "$name"
tree=$dir/$name.src/tree
case $name in
lua5.4)
    echo '#define DEB_HOST_MULTIARCH "x86_64-linux-gnu"' > "$tree/src/lua5.4-deb-multiarch.h"
    # shellcheck disable=SC2086
    (cd "$tree/src" && gcc $flags -DLUA_USE_LINUX -DLUA_COMPAT_5_3 -Wl,-q,-E -o "$dir/$name" \
        $(ls ./*.c | grep -v -e luac.c -e ltests.c) -lm -ldl) ;;
sqlite3)
    (cd "$tree" && { [ -f sqlite3.c ] || { ./configure -q > /dev/null && make -s sqlite3.c shell.c; } })
    # shellcheck disable=SC2086
    (cd "$tree" && gcc $flags -DSQLITE_ENABLE_MATH_FUNCTIONS -DSQLITE_THREADSAFE=1 -Wl,-q -o "$dir/$name" shell.c sqlite3.c -lm -lpthread -ldl) ;;
*) echo "from_source.sh: no recipe for $name" >&2; exit 2 ;;
esac
echo "$dir/$name"

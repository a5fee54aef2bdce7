#!/bin/sh
# A bare Debian 12: debootstrap into a folder, a clone of HEAD inside, both top commands in a chroot.
#
#   fresh.sh [FOLDER]      as root; FOLDER is kept, without it a temporary one is removed
#   WHAT="quickstart tests"   which of the two commands to run
#
# Uses the package mirror, proxy and keys that this machine's apt uses. Long: not part of run.sh.
# SPDX-License-Identifier: MIT
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
root=${1:-$(mktemp -d /var/tmp/respin-fresh.XXXXXX)}
what=${WHAT:-quickstart tests}

mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
        awk '$1 == "URIs:" { print $2; exit } $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /:\/\//) { print $i; exit } }'
}

unmount() {
    for place in proc dev sys; do
        mountpoint -q "$root/$place" && umount -l "$root/$place"
    done
    [ -n "${1:-}" ] || return 0
    rm -rf "$root"
}
if [ $# -eq 0 ]; then trap 'unmount all' EXIT; else trap unmount EXIT; fi

command -v debootstrap > /dev/null || apt-get install -y -q debootstrap
if [ ! -x "$root/bin/sh" ]; then
    debootstrap --variant=minbase bookworm "$root" "$(mirror)"
fi
# The same package sources, proxy settings and certificates as outside; nothing else is shared.
cp -rL /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d "$root/etc/apt/" 2>/dev/null || :
cp -rL /etc/apt/trusted.gpg.d /etc/apt/keyrings "$root/etc/apt/" 2>/dev/null || :
mkdir -p "$root/usr/share/keyrings" "$root/etc/ssl"
cp -rL /usr/share/keyrings/. "$root/usr/share/keyrings/"
cp -rL /etc/ssl/certs "$root/etc/ssl/" 2>/dev/null || :
cp /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || :
rm -rf "$root/src"
git clone -q "$top" "$root/src"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
mount -t sysfs sys "$root/sys"

inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb CI="${CI:-}" \
        http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" \
        chroot "$root" sh -c "cd /src && $1"
}
for step in $what; do
    case $step in
    quickstart) inside 'sh samples/quickstart.sh' ;;
    tests) inside 'sh tests/run.sh' ;;
    esac
    echo "fresh: $step passed"
done

#!/usr/bin/env bash
# booted.sh ROOT: boots a Debian root with systemd as process 1, in namespaces of its own on this kernel; ends with it.
# Needs root, and cgroup2 mounted somewhere. Its control group is apart: nothing of this host's is touched.
set -euo pipefail
root=$1
unified=$(findmnt -n -o TARGET -t cgroup2 | head -1)
group=$unified/skytrail-booted-$$
mkdir "$group"
trap 'find "$group" -depth -type d -exec rmdir {} + 2> /dev/null || true' EXIT
# shellcheck disable=SC2016 # expanded inside
sh -c 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"' sh "$group" \
    unshare --pid --fork --kill-child --mount --uts --ipc --net --cgroup sh -euc '
    mount --make-rprivate /
    mount --bind "$0" "$0"
    ip link set lo up
    mount -t proc proc "$0/proc"
    mount -t sysfs sysfs "$0/sys"
    mount -t cgroup2 cgroup2 "$0/sys/fs/cgroup"
    mount -t tmpfs tmpfs "$0/run"
    mount --rbind /dev "$0/dev"
    cd "$0"
    pivot_root . mnt
    umount -l /mnt
    mount --make-rshared / # as systemd does where it boots a machine
    exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console --show-status=false
' "$root"

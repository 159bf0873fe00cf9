#!/usr/bin/env bash
# apart.sh COMMAND...: runs it as on a host of its own beside this one: processes, network, mounts, /run and sysfs its own.
# What ends it ends all that it began. Needs root; without it (or in a container that may not) the command runs as it is.
set -eu
unshare --pid --fork --kill-child --mount-proc --net --mount --uts true 2> /dev/null || exec "$@"
# shellcheck disable=SC2016 # expanded inside
exec unshare --pid --fork --kill-child --mount-proc --net --mount --uts sh -euc '
    mount -t tmpfs none /run
    mkdir -p /run/lock /run/netns
    ip link set lo up
    mount --rbind /sys/fs /mnt
    mount -t sysfs none /sys
    mount --rbind /mnt /sys/fs
    umount -l /mnt
    "$@"' sh "$@"

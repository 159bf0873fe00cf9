#!/usr/bin/env bash
# run.sh SERIES COMMAND...: run COMMAND as root under a stock Debian kernel (SERIES: 6.1, 6.12 ...). README.md tells more.
set -euo pipefail

fail() { echo "run.sh: $*" >&2; exit 125; }

usage="usage: run.sh SERIES COMMAND... (SERIES: 6.1 or 6.12)"
[ $# -ge 2 ] || fail "$usage"
series=$1; shift
[[ $series =~ ^[0-9]+\.[0-9]+$ ]] || fail "$usage"

# --- what this machine must have: tool, then the Debian package that brings it -----------------------------------------
missing=()
while read -r tool package; do
  command -v "$tool" >/dev/null || missing+=("$package")
done <<'TOOLS'
qemu-system-x86_64 qemu-system-x86
busybox busybox-static
cpio cpio
modprobe kmod
xz xz-utils
flock util-linux
TOOLS
[ ${#missing[@]} -eq 0 ] || fail "tools are missing: apt-get install --no-install-recommends ${missing[*]}"
[ "$(id -u)" -eq 0 ] || fail "needs root: the machine's root file system is shared with the virtual machine (sudo)"

lab=${SKYTRAIL_LAB:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/skytrail-lab}
mkdir -p "$lab/vm"
kernel=$(cd "$lab/vm" && pwd)/$series

# --- the kernel, once ---------------------------------------------------------------------------------------------------
fetch_kernel() {
  local package building
  package=$(apt-cache search "^linux-image-${series//./\\.}[.+].*-amd64\$" | awk '{print $1}' |
    grep -vE 'unsigned|cloud|-rt-|dbg|template' | sort -V | tail -1) || true
  [ -n "$package" ] || fail "apt knows no Debian kernel package of series $series: apt-get update, or another series"
  echo "run.sh: fetching $package (once, into $kernel)" >&2
  building=$(mktemp -d "$kernel.XXXXXX")
  trap 'rm -rf "$building"' EXIT
  (cd "$building" && apt-get -o APT::Sandbox::User=root download -qq "$package" >&2 && dpkg -x ./*.deb .) ||
    fail "cannot download or unpack $package: see the message above"
  rm -rf "$building"/*.deb "$building/usr"
  find "$building/lib/modules" -name '*.ko.xz' -print0 | xargs -0 -r -n64 xz -dq # busybox's insmod reads plain ones
  depmod -b "$building" "$(ls "$building/lib/modules")"
  mv "$building" "$kernel" # in one step: whoever sees it sees it whole
  trap - EXIT
}

if [ ! -d "$kernel" ]; then
  exec 9> "$kernel.lock"
  flock -w 900 9 || fail "another run.sh has been fetching the kernel for 15 minutes: $kernel.lock"
  [ -d "$kernel" ] || (fetch_kernel) # in a subshell: its trap is its own
  exec 9>&-
fi

# --- the initial RAM disk -----------------------------------------------------------------------------------------------
write_init() { # runs as process 1 of the virtual machine, in busybox's shell
  cat <<'INIT'
#!/bin/busybox sh
b() { /bin/busybox "$@"; }
give_up() { echo "virtual machine: $*"; b poweroff -f; }
b mkdir -p /proc /sys /dev /host /over /root
b mount -t proc proc /proc; b mount -t sysfs sys /sys; b mount -t devtmpfs dev /dev
while read -r module; do b insmod "/modules/$module"; done < /modules/order
nine="trans=virtio,version=9p2000.L,msize=262144"
b mount -t 9p -o "$nine,cache=loose,ro" hostroot /host || give_up "cannot mount the root file system"
# Whatever is written goes to memory.
b mount -t tmpfs -o size=75% over /over; b mkdir -p /over/upper /over/work
b mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work over /root || give_up "cannot mount the overlay"
for folder in proc sys dev; do b mount --move "/$folder" "/root/$folder"; done
b mkdir -p /root/dev/pts /root/dev/shm /root/run /root/vm-out /root/lib/modules
b mount -t devpts devpts /root/dev/pts; b mount -t tmpfs shm /root/dev/shm; b mount -t tmpfs run /root/run
b mount -t 9p -o "$nine" out /root/vm-out || give_up "cannot mount the output folder"
b mount -t 9p -o "$nine,cache=loose,ro" modules /root/lib/modules || give_up "cannot mount the modules"
b mount -t bpf bpf /root/sys/fs/bpf; b mount -t tracefs tracefs /root/sys/kernel/tracing
b mount -t securityfs security /root/sys/kernel/security; b mount -t cgroup2 cgroup /root/sys/fs/cgroup
b chroot /root /bin/bash /vm-out/.vm-command < /root/dev/null
echo $? > /root/vm-out/.vm-status
b sync; b poweroff -f
INIT
}

make_initrd() { # into the folder $1
  local version root=$1/initrd.d
  version=$(ls "$kernel/lib/modules")
  mkdir -p "$root/bin" "$root/sbin" "$root/modules"
  cp "$(command -v busybox)" "$root/bin/busybox"
  # virtio, 9p and overlay with what they need, in the order of loading
  for module in virtio_pci 9pnet_virtio 9p overlay; do
    modprobe -d "$kernel" -S "$version" --show-depends "$module" | awk '$1 == "insmod" {print $2}'
  done | awk '!seen[$0]++' | while read -r file; do
    cp "$file" "$root/modules/"
    basename "$file" >> "$root/modules/order"
  done
  write_init > "$root/init"
  # The kernel calls modprobe in its first root: pass that on to the second.
  printf '#!/bin/busybox sh\nexec /bin/busybox chroot /root /sbin/modprobe "$@"\n' > "$root/sbin/modprobe"
  chmod +x "$root/init" "$root/sbin/modprobe"
  (cd "$root" && find . | cpio -o -H newc --quiet) > "$1/initrd"
}

# --- one run ------------------------------------------------------------------------------------------------------------
scratch=$(mktemp -d)
out=$scratch/out
[ -z "${VM_OUT:-}" ] || out=$VM_OUT
mkdir -p "$out"; out=$(cd "$out" && pwd)
trap 'rm -rf "$scratch" "$out"/.vm-command "$out"/.vm-status' EXIT
rm -f "$out/.vm-status"
make_initrd "$scratch"
{
  echo 'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb'
  echo 'stty -onlcr -F /dev/console 2>/dev/null; ip link set lo up; ulimit -n 65536'
  printf 'cd %q || exit 125\n' "${VM_CWD:-$PWD}"
  printf '%q ' "$@"; echo
} > "$out/.vm-command"

# qemu 7.2 gets AVX2's gather instructions wrong: numpy's argsort then gives wrong orders
limit=${VM_TIMEOUT:-600}
share="security_model=none,multidevs=remap"
status=0
timeout -k 5 "$limit" qemu-system-x86_64 \
  -accel tcg,thread=single -cpu max,avx2=off -smp "${VM_CPUS:-1}" -m "${VM_MEM:-2048}" \
  -display none -no-reboot -nodefaults -serial stdio -monitor none \
  -kernel "$kernel"/boot/vmlinuz-* -initrd "$scratch/initrd" -append 'console=ttyS0 quiet loglevel=0 panic=-1 mitigations=off' \
  -virtfs "local,path=/,mount_tag=hostroot,readonly=on,$share" \
  -virtfs "local,path=$kernel/lib/modules,mount_tag=modules,readonly=on,$share" \
  -virtfs "local,path=$out,mount_tag=out,$share" < /dev/null &
machine=$!
trap 'kill "$machine" 2>/dev/null' INT TERM # to timeout, which passes it on to qemu
wait "$machine" || status=$?

[ -f "$out/.vm-status" ] && exit "$(cat "$out/.vm-status")"
[ "$status" -ne 124 ] || { echo "run.sh: no end after $limit s (VM_TIMEOUT)" >&2; exit 124; }
fail "the virtual machine of $series ended without running the command to its end (qemu's status $status)"

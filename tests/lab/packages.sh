#!/usr/bin/env bash
# packages.sh run|test|kernels|deploy: the system packages for running, testing, booting other kernels, deploying (Debian, Ubuntu).
# Does nothing, quickly, where all are there. Needs root to install.
set -eu
run="libbpf1 python3-venv"
test="$run lldpd clang llvm libclang-rt-dev libbpf-dev tshark tcpdump iperf3 nftables ethtool iproute2 iputils-ping openssl zstd curl
      prometheus openvswitch-switch python3-bpfcc linux-headers-generic netcat-openbsd dnsmasq-base bpftool graphviz jq
      default-jre-headless maven libfaketime docker.io podman containerd runc busybox-static containernetworking-plugins systemd
      chromium"
kernels="$run qemu-system-x86 busybox-static cpio kmod xz-utils"
deploy="$test debootstrap"
case "${1:-}" in
run) wanted=$run ;;
test) wanted=$test ;;
kernels) wanted=$kernels ;;
deploy) wanted=$deploy ;;
*) echo "usage: $0 run|test|kernels|deploy" >&2; exit 2 ;;
esac
command -v apt-get > /dev/null || { echo "$0: no apt-get here: install yourself: $wanted" >&2; exit 0; }

# Names that differ between releases.
real_name() {
    case "$1" in
    libclang-rt-dev) apt-cache pkgnames libclang-rt- | grep -E '^libclang-rt-[0-9]+-dev$' | sort -V | head -1 ;;
    linux-headers-generic) apt-cache pkgnames | grep -xE "linux-headers-(generic|$(dpkg --print-architecture))" | sort -r | head -1 ;;
    chromium) apt-cache pkgnames chromium | grep -xE 'chromium|chromium-browser' | sort | head -1 ;;
    *) echo "$1" ;;
    esac
}
missing() {
    for name in $wanted; do
        package=$(real_name "$name")
        [ -n "$package" ] || package=$name
        dpkg-query -W -f='${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || echo "$package"
    done
}
todo=$(missing)
[ -n "$todo" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "$0: these packages are missing: $(echo $todo); run it as root" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 update -qq
todo=$(missing) # names can be told apart only with the lists there
# shellcheck disable=SC2086 # a list of words
apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $todo > /dev/null

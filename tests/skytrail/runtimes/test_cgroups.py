"""Control groups' paths as they are found on real hosts: each runtime with each of its drivers, and nested ones."""

from __future__ import annotations

import subprocess
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import needs

from skytrail.runtimes.cgroups import ROWS, CgroupOwner, group_of_process, owner

A = "3601745b3bd54d9780436faa5f0e4f72bb46231663bb99a6bb892764917832c2"
B = "be7ecbda4d1d2f0e2b2a9f2a54d3e3a4c56c0e4c4f2b7d8f4d9f8a3c1b2a0f9e"
UID = "74c13223-5a00-11e9-b385-42010a80018d"
UID_ = UID.replace("-", "_")
STATIC = "0d53bd8ee97dc4a4a9c8d4a9c0ba9d4a"  # a static pod's: the digest of its file
KUBELET = f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort-pod{UID_}.slice"
KIND = f"/docker/{A}/{KUBELET}/cri-containerd-{B}.scope"

PATHS = {
    # docker
    f"/docker/{A}": CgroupOwner("docker", A),
    f"/system.slice/docker-{A}.scope": CgroupOwner("docker", A),
    f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope": CgroupOwner("docker", A),
    f"/system.slice/docker-{A}.scope/init.scope": CgroupOwner("docker", A, unit="init.scope"),
    f"/docker/{A}/system.slice/nginx.service": CgroupOwner("docker", A, unit="nginx.service"),
    f"/../../docker/{A}": CgroupOwner("docker", A),
    f"/docker/{A} (deleted)": CgroupOwner("docker", A),
    f"/{A}": CgroupOwner("", A),
    f"/batch/night/{A}": CgroupOwner("", A),
    f"/ecs/f0b3e2a0-5d1b-4c8e-9f7a-1c2d3e4f5a6b/{A}": CgroupOwner("docker", A),
    "/ecs/34dc0b5e626f2c5c4c5170e34b10e765/34dc0b5e626f2c5c4c5170e34b10e765-1234567890": CgroupOwner(
        "docker", "34dc0b5e626f2c5c4c5170e34b10e765-1234567890"
    ),
    "/docker/buildkit/vx4b2g1yxv0jq2b1rbd5ul6gq": CgroupOwner("buildkit", "vx4b2g1yxv0jq2b1rbd5ul6gq"),
    # docker in docker, with either driver; podman in docker and its helper
    f"/docker/{A}/docker/{B}": CgroupOwner("docker", B, (A,)),
    f"/system.slice/docker-{A}.scope/docker/{B}": CgroupOwner("docker", B, (A,)),
    f"/system.slice/docker-{A}.scope/system.slice/docker-{B}.scope": CgroupOwner("docker", B, (A,)),
    f"/docker/{A}/libpod_parent/libpod-{B}": CgroupOwner("podman", B, (A,)),
    f"/docker/{A}/libpod_parent/conmon": CgroupOwner("docker", A),
    # containerd
    f"/kubepods/burstable/pod{UID}/{A}": CgroupOwner("", A, (), UID, "burstable"),
    f"/kubepods/besteffort/pod{UID}/{A}": CgroupOwner("", A, (), UID, "besteffort"),
    f"/kubepods/pod{UID}/{A}": CgroupOwner("", A, (), UID, "guaranteed"),
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{A}.scope": CgroupOwner(
        "containerd", A, (), UID, "burstable"
    ),
    f"/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{A}.scope": CgroupOwner("containerd", A, (), UID, "guaranteed"),
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{A}.scope": CgroupOwner(
        "containerd", A, (), STATIC, "burstable"
    ),
    f"/system.slice/containerd.service/kubepods-besteffort-pod{UID_}.slice:cri-containerd:{A}": CgroupOwner(
        "containerd", A, (), UID, "besteffort"
    ),
    f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice": CgroupOwner(
        "", "", (), UID, "besteffort"
    ),
    f"/system.slice/nerdctl-{A}.scope": CgroupOwner("containerd", A),
    **{
        f"/system.slice/any.service/system.slice:{prefix}:{A}": CgroupOwner(runtime, A)
        for prefix, runtime in (("docker", "docker"), ("crio", "cri-o"), ("libpod", "podman"))
    },
    # kind: a cluster's node is a container of docker's
    KIND: CgroupOwner("containerd", B, (A,), UID, "besteffort"),
    f"/docker/{A}/kubelet/kubepods/burstable/pod{UID}/{B}": CgroupOwner("", B, (A,), UID, "burstable"),
    # docker below Kubernetes: a pod that runs a dockerd of its own
    f"/kubepods/burstable/pod{UID}/{A}/docker/{B}": CgroupOwner("docker", B, (A,), UID, "burstable"),
    f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/docker-{A}.scope": CgroupOwner(
        "docker", A, (), UID, "besteffort"
    ),
    # cri-o
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/crio-{A}.scope": CgroupOwner(
        "cri-o", A, (), UID, "burstable"
    ),
    f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-{A}.scope/container": CgroupOwner("cri-o", A, (), UID, "guaranteed"),
    f"/kubepods/besteffort/pod{UID}/crio-{A}": CgroupOwner("cri-o", A, (), UID, "besteffort"),
    f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-conmon-{A}.scope": CgroupOwner(
        "", "", (), UID, "guaranteed", f"crio-conmon-{A}.scope"
    ),
    # podman
    f"/machine.slice/libpod-{A}.scope": CgroupOwner("podman", A),
    f"/machine.slice/libpod-{A}.scope/container": CgroupOwner("podman", A),
    f"/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope/container": CgroupOwner("podman", A),
    f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container": CgroupOwner("podman", A),
    f"/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/libpod-payload-{A}": CgroupOwner("podman", A),
    f"/libpod_parent/libpod-{A}": CgroupOwner("podman", A),
    f"/libpod_parent/libpod-{A}/ctr": CgroupOwner("podman", A),
    f"/machine.slice/libpod-conmon-{A}.scope": CgroupOwner(unit=f"libpod-conmon-{A}.scope"),
    f"/libpod_parent/{B}/conmon": CgroupOwner(),
    "/libpod_parent/conmon": CgroupOwner(),
    # those with names
    "/lxc.payload.web-1/system.slice/nginx.service": CgroupOwner("lxc", "web-1", unit="nginx.service"),
    "/lxc.monitor.web-1": CgroupOwner(),
    "/lxc/100/ns/init.scope": CgroupOwner("lxc", "100", unit="init.scope"),
    "/machine.slice/systemd-nspawn@web.service/payload/system.slice/ssh.service": CgroupOwner(
        "systemd-nspawn", "web", unit="ssh.service"
    ),
    "/machine.slice/systemd-nspawn@web.service/supervisor": CgroupOwner(unit="systemd-nspawn@web.service"),
    r"/machine.slice/machine-my\x2dbox.scope/payload": CgroupOwner("systemd-nspawn", "my-box"),
    r"/machine.slice/machine-qemu\x2d1\x2dvm\x2done.scope/libvirt/emulator": CgroupOwner("libvirt", "vm-one"),
    # systemd's own
    "/system.slice/ssh.service": CgroupOwner(unit="ssh.service"),
    "/system.slice/system-getty.slice/getty@tty1.service": CgroupOwner(unit="getty@tty1.service"),
    "/system.slice/containerd.service": CgroupOwner(unit="containerd.service"),
    "/user.slice/user-1000.slice/session-3.scope": CgroupOwner(unit="session-3.scope", user=1000),
    "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox.service": CgroupOwner(
        unit="app-firefox.service", user=1000
    ),
    "/user.slice/user-0.slice/user@0.service/init.scope": CgroupOwner(unit="init.scope", user=0),
    "/init.scope": CgroupOwner(unit="init.scope"),
    # nothing
    "/": CgroupOwner(),
    "": CgroupOwner(),
    "/docker": CgroupOwner(),
    "/kubepods/burstable": CgroupOwner(),
    f"/docker/{A[:-1]}": CgroupOwner(),
    f"/docker/{A}0": CgroupOwner(),
    "/user.slice/user-99999999999.slice": CgroupOwner(),
}


@pytest.mark.parametrize("path", PATHS)
def test_path_tells(path: str) -> None:
    assert owner(path) == PATHS[path]


def test_every_row_has_a_source_and_an_example() -> None:
    for row in ROWS:
        assert row.source
        assert any(row.pattern.search(path) for path in PATHS), row


@given(st.text(alphabet=st.sampled_from("/:-.@\\x2dabcf0149_"), max_size=200))
def test_any_text_is_a_path(path: str) -> None:
    assert owner(path) is owner(path)


@given(st.lists(st.sampled_from([path for path, known in PATHS.items() if known.container_id]), min_size=2, max_size=4))
def test_the_innermost_container_wins(paths: list[str]) -> None:
    found = owner("".join(path.removesuffix(" (deleted)") for path in paths))
    last = PATHS[paths[-1]]

    assert (found.runtime, found.container_id) == (last.runtime, last.container_id)
    assert found.outer[: len(last.outer)] == last.outer
    assert len(found.outer) == sum(1 + len(PATHS[path].outer) for path in paths) - 1


@given(st.uuids())
def test_both_drivers_of_the_kubelet_name_one_pod(uid: uuid.UUID) -> None:
    escaped = str(uid).replace("-", "_")

    assert owner(f"/kubepods/burstable/pod{uid}/{A}").pod_uid == str(uid)
    assert owner(f"/kubepods.slice/kubepods-burstable-pod{escaped}.slice/crio-{A}.scope").pod_uid == str(uid)


def test_of_a_process_in_version_1() -> None:
    text = (
        f"12:memory:/docker/{A}\n11:cpu,cpuacct:/docker/{A}\n1:name=systemd:/docker/{A}\n0::/system.slice/containerd.service\n"
    )

    assert owner(group_of_process(text)) == CgroupOwner("docker", A)


def test_of_a_process_in_a_hybrid_host() -> None:
    text = "9:name=systemd:/system.slice/ssh.service\n4:memory:/process_api/0859591f67ef3d00\n1:cpu:/\n0::/\n"

    assert owner(group_of_process(text)) == CgroupOwner(unit="ssh.service")


@pytest.mark.parametrize("text", ["", "\n", "0::\n", "no line of a cgroup\n", "1:2"])
def test_of_a_process_that_is_in_none(text: str) -> None:
    assert owner(group_of_process(text)) == CgroupOwner()


@pytest.mark.parametrize("name", ["web", "my-box", "a.b-c"])
def test_names_are_read_as_systemd_escapes_them(name: str) -> None:
    escaped = subprocess.run([needs.tool("systemd-escape", "systemd"), name], capture_output=True, text=True, check=True).stdout

    assert owner(f"/machine.slice/machine-{escaped.strip()}.scope/payload").container_id == name

r"""What a control group's path tells: the container, the pod, the unit of systemd that a process belongs to.

Each runtime puts its containers into groups named by a rule of its own; :data:`ROWS` and :data:`PODS` hold these rules, each
with its source. Groups nest (Docker in Docker, kind, a pod's containers): the innermost container is the process's own.

>>> owner("/system.slice/ssh.service").unit
'ssh.service'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_ID = r"(?P<id>[0-9a-f]{64})"
_END = r"(?=/|$)"
_CACHED = 8192  # paths; a host rarely has more groups with processes in them
_LONGEST = 4096  # PATH_MAX: the kernel gives no longer ones


@dataclass(frozen=True, slots=True)
class CgroupOwner:
    """What a path tells; an empty text, or None, is what it does not.

    Attributes:
        runtime: ``docker``, ``containerd``, ``cri-o``, ``podman``, ``buildkit``, ``lxc``, ``systemd-nspawn`` or ``libvirt``;
            empty for a container whose path does not tell, as those of Kubernetes with the driver cgroupfs.
        container_id: as the runtime's API takes it: 64 hexadecimal digits, or a name (lxc, systemd-nspawn, libvirt).
        outer: IDs of the containers that this one runs in, the nearest first. The API of the host's runtime knows these,
            where the innermost one belongs to a runtime inside of a container.
        pod_uid: of the Kubernetes pod, as its API writes it.
        pod_qos: ``guaranteed``, ``burstable`` or ``besteffort``.
        unit: the innermost service or scope of systemd: of the host, or of the systemd that runs in the container.
        user: the number of the user whose session or service manager it is.
    """

    runtime: str = ""
    container_id: str = ""
    outer: tuple[str, ...] = ()
    pod_uid: str = ""
    pod_qos: str = ""
    unit: str = ""
    user: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """How one runtime names groups.

    Attributes:
        runtime: what matches belong to.
        pattern: with a group ``id``. Without one it is the group of a runtime's helper, which runs on the host.
        source: where that is written.
    """

    runtime: str
    pattern: re.Pattern[str]
    source: str


def _row(runtime: str, pattern: str, source: str) -> Row:
    return Row(runtime, re.compile(rf"(?:^|/){pattern}{_END}"), source)


ROWS = (
    # The parent's group has the runtime's name (driver cgroupfs).
    _row("docker", rf"docker/{_ID}", "moby, daemon/oci_linux.go: cgroupsPath, default parent /docker"),
    _row("docker", rf"ecs/[^/]+/{_ID}", "amazon-ecs-agent, agent/taskresource/cgroup: /ecs/TASK/CONTAINER"),
    _row("docker", r"ecs/[^/]+/(?P<id>[0-9a-f]{32}-[0-9]+)", "AWS, Fargate's task metadata: DockerId is TASK-NUMBER"),
    _row("buildkit", r"(?:docker/)?buildkit/(?P<id>[0-9a-z]{25})", "moby, builder/builder-next/executor_linux.go"),
    # The group itself bears the runtime's name (driver systemd: a scope; some also with cgroupfs: none).
    _row("docker", rf"docker-{_ID}(?:\.scope)?", "moby, daemon/oci_linux.go: scopePrefix; runc, docs/systemd.md"),
    _row("containerd", rf"cri-containerd-{_ID}(?:\.scope)?", "containerd, pkg/cri/server: getCgroupsPath"),
    _row("containerd", rf"nerdctl-{_ID}(?:\.scope)?", "nerdctl, pkg/cmd/container: generateCgroupOpts, SLICE:nerdctl:ID"),
    _row("cri-o", rf"crio-{_ID}(?:\.scope)?", "cri-o, internal/config/cgmgr: ContainerCgroupPath, crioPrefix"),
    _row("podman", rf"libpod-(?:payload-)?{_ID}(?:\.scope)?", "podman, libpod/container.go: CgroupPath, createUnitName"),
    # A path for the driver systemd, taken for a folder by a runtime with the driver cgroupfs.
    _row("docker", rf"[^/:]*:docker:{_ID}", "runc, docs/systemd.md: SLICE:PREFIX:NAME; as seen with other drivers"),
    _row("containerd", rf"[^/:]*:cri-containerd:{_ID}", "runc, docs/systemd.md: SLICE:PREFIX:NAME; as seen with other drivers"),
    _row("cri-o", rf"[^/:]*:crio:{_ID}", "runc, docs/systemd.md: SLICE:PREFIX:NAME; as seen with other drivers"),
    _row("podman", rf"[^/:]*:libpod:{_ID}", "runc, docs/systemd.md: SLICE:PREFIX:NAME; as seen with other drivers"),
    # Runtimes whose containers have names.
    _row("lxc", r"lxc\.payload[./](?P<id>[^/]+)", "lxc, src/lxc/cgroups/cgfsng.c: lxc.payload.NAME (since 4.0)"),
    _row("lxc", r"lxc/(?P<id>[^/]+)", "lxc.container.conf(5), lxc.cgroup.pattern: lxc/%n (before 4.0, Proxmox)"),
    _row("libvirt", r"machine-(?:qemu|lxc)\\x2d[0-9]+\\x2d(?P<id>[^/]+)\.scope",
         "libvirt.org/cgroups.html: machine-qemu\\x2dN\\x2dNAME.scope"),
    _row("systemd-nspawn", r"systemd-nspawn@(?P<id>[^/]+)\.service", "systemd, units/systemd-nspawn@.service"),
    _row("systemd-nspawn", r"machine-(?!(?:qemu|lxc)\\x2d)(?P<id>[^/]+)\.scope", "systemd, src/nspawn/nspawn-register.c"),
    # Helpers on the host's side.
    _row("podman", r"libpod-conmon-[0-9a-f]{64}\.scope", "podman, libpod/oci_conmon_linux.go: moveConmonToCgroup…"),
    _row("podman", r"libpod_parent/(?:[0-9a-f]{64}/)?conmon", "podman, libpod/oci_conmon_linux.go: moveConmonToCgroup…"),
    _row("cri-o", r"crio-conmon-[0-9a-f]{64}(?:\.scope)?", "cri-o, internal/config/cgmgr: MoveConmonToCgroup"),
    _row("lxc", r"lxc\.monitor[./][^/]+", "lxc, src/lxc/cgroups/cgfsng.c: lxc.monitor.NAME"),
    _row("systemd-nspawn", r"(?:systemd-nspawn@[^/]+\.service|machine-[^/]+\.scope)/supervisor",
         "systemd, src/nspawn/nspawn-cgroup.c: create_subcgroup"),
    # Any runtime under a parent of its administrator's choice, and Kubernetes with the driver cgroupfs.
    _row("", _ID, "runc, docker run --cgroup-parent, kubelet's podContainerManager: PARENT/ID"),
)  # fmt: skip
"""How runtimes name the groups of containers. Where two match the same ID, the first one counts."""

PODS = (
    # kubernetes, pkg/kubelet/cm/cgroup_manager_linux.go: CgroupName.ToSystemd, which writes - in a name as _
    re.compile(
        r"(?:^|/)(?:[^/]*-)?kubepods(?:-(?P<qos>burstable|besteffort))?-pod(?P<uid>[0-9A-Za-z_]{1,64})\.slice(?=[:/]|$)"
    ),
    # the same file: CgroupName.ToCgroupfs
    re.compile(r"(?:^|/)kubepods/(?:(?P<qos>burstable|besteffort)/)?pod(?P<uid>[0-9A-Za-z-]{1,64})(?=/|$)"),
)
"""How the kubelet names the groups of pods. The group of a pod that is guaranteed its resources bears no class's name."""

_UNIT = re.compile(rf"(?:^|/)(?P<unit>[^/]+\.(?:service|scope)){_END}")
_USER = re.compile(rf"(?:^|/)(?:user-|user@)(?P<uid>[0-9]{{1,10}})\.(?:slice|service){_END}")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


@lru_cache(maxsize=_CACHED)
def owner(path: str) -> CgroupOwner:
    r"""What a path below a hierarchy's root tells; of a path that tells nothing, an empty :class:`CgroupOwner`.

    ``path`` is as /proc/PID/cgroup has it: relative to the reader's cgroup namespace (``/../..`` is passed over), with
    `` (deleted)`` behind it where the group is gone. The same object is given again for the same path.
    """
    path = path.removesuffix(" (deleted)")
    if len(path) > _LONGEST:
        return CgroupOwner()
    containers, innermost = _containers(path)
    runtime, container_id = containers[-1] if containers else ("", "")
    pods = [match for pattern in PODS for match in pattern.finditer(path)]
    pod = max(pods, key=re.Match.start, default=None)
    units = _UNIT.findall(path, innermost)
    user = None if containers else _USER.search(path)
    return CgroupOwner(
        runtime=runtime,
        container_id=container_id,
        outer=tuple(identity for _, identity in reversed(containers[:-1])),
        pod_uid=pod["uid"].replace("_", "-") if pod else "",
        pod_qos=(pod["qos"] or "guaranteed") if pod else "",
        unit=units[-1] if units else "",
        user=int(user["uid"]) if user else None,
    )


def _containers(path: str) -> tuple[list[tuple[str, str]], int]:
    """Runtime and ID of each container on the way, the outermost first; where the innermost one's own group ends."""
    found: dict[int, tuple[str, str, int]] = {}
    helpers: list[range] = []
    for row in ROWS:
        for match in row.pattern.finditer(path):
            if row.pattern.groups:
                found.setdefault(match.start("id"), (row.runtime, _unescaped(match["id"]), match.end()))
            else:
                helpers.append(range(*match.span()))
    # what looks after a container or a pod is not in it
    inner = [found[start] for start in sorted(found) if not any(start in helper for helper in helpers)]
    return [(runtime, identity) for runtime, identity, _ in inner], inner[-1][2] if inner else 0


def _unescaped(name: str) -> str:
    r"""A name as it was before systemd wrote ``-`` as ``\x2d`` (systemd.unit(5), "String escaping")."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name)


def group_of_process(text: str) -> str:
    """The path, of those in /proc/PID/cgroup, that tells most; of equals that of version 2, else the longest.

    In a hybrid host the hierarchies disagree: a runtime may put its containers into some of them only, and the units of
    systemd stand in its own (``name=systemd``) and in that of version 2. Lines that are none are passed over.

    Source: cgroups(7), "/proc files".
    """
    lines = [fields for line in text.splitlines() if len(fields := line.split(":", 2)) == 3]
    told = [(_told(owner(path)), not names and path != "/", len(path), path) for _, names, path in lines]
    return max(told)[-1] if told else ""


def _told(found: CgroupOwner) -> tuple[int, bool, bool, bool]:
    return len(found.outer) + bool(found.container_id), bool(found.pod_uid), bool(found.unit), found.user is not None

"""Real container runtimes for tests: dockerd, Podman's service, containerd with its CRI. They need root and Debian's packages.

Each has folders of its own and runs in the network namespace that it is given; what it makes goes with it. Without a
package a test skips and says so; with ``CI=true`` it fails instead, for there it must run.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from support import needs
from support.netlab import NETNS, until

IMAGE = "docker.io/lab/box:1"
"""The name of the one image: busybox, with its programs under ``/bin``."""
FOREVER = ("/bin/sleep", "100000")
_READY = 30.0


def image(path: Path) -> Path:
    """An archive of one image, as ``docker save`` writes it; it sleeps."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(needs.tool("busybox", "busybox-static"), "bin/busybox")
        for name in ("sh", "sleep", "cat", "true"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("proc", "sys", "dev", "etc", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": {"Cmd": list(FOREVER), "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        for name, data in (
            ("layer.tar", layer.getvalue()),
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


class Daemon:
    """A runtime's daemon, from :meth:`start` to the end of the ``with``."""

    def __init__(self, folder: Path, netns: str) -> None:
        needs.root()
        self.folder, self._netns = folder, netns
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._launch(self.command())
        until(self._answers, _READY, 0.1)

    def _launch(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(["nsenter", f"--net={NETNS / self._netns}", *command], stdout=log, stderr=log)

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        return self.socket.exists() and self.ready()

    def ready(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def end_helpers(self) -> None:
        """End other programs that it needs."""

    def clear(self) -> None:
        """Remove all containers."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._process:
                self.clear()
        finally:
            self.stop()
            self.end_helpers()
            self._end_shims()
            for line in reversed(Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()):
                if line.split()[1].startswith(f"{self.folder}/"):
                    subprocess.run(["umount", "-l", line.split()[1]], check=False)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end_shims(self) -> None:
        """End containers that a test left behind, when it killed what looks after them."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if f"{self.folder}/".encode() in (process / "cmdline").read_bytes():
                    children = [pid for task in process.glob("task/*/children") for pid in task.read_text().split()]
                    for pid in (*children, process.name):
                        os.kill(int(pid), signal.SIGKILL)


class Dockerd(Daemon):
    """dockerd over a containerd that outlives it, as systemd runs them; no bridge, no rules of a firewall.

    Args:
        folder: for what it makes.
        netns: where it runs.
        live_restore: whether containers run on where it is stopped.
    """

    def __init__(self, folder: Path, netns: str, *, live_restore: bool = True) -> None:
        super().__init__(folder, netns)
        self._live_restore = live_restore
        self._containerd: subprocess.Popen[bytes] | None = None
        (folder / "config.toml").write_text(_containerd_config(folder, self._lower, cri=False))

    def start(self) -> None:
        if self._containerd is None:
            program = needs.tool("containerd", "containerd")
            self._containerd = self._launch([program, "--config", str(self.folder / "config.toml")])
            until(self._lower.exists, _READY)
        super().start()

    def end_helpers(self) -> None:
        if self._containerd:
            self._containerd.terminate()
            self._containerd.wait(30)

    @property
    def _lower(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    def command(self) -> list[str]:
        places = ["--data-root", "data", "--exec-root", "exec", "--pidfile", "docker.pid"]
        places = [word if word.startswith("-") else str(self.folder / word) for word in places]
        places += ["--containerd", str(self._lower)]
        without = ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
        without += [f"--live-restore={str(self._live_restore).lower()}"]
        return [needs.tool("dockerd", "docker.io"), *places, *without, "--storage-driver=vfs", "-H", f"unix://{self.socket}"]

    def ready(self) -> bool:
        return self._run("version").returncode == 0

    def load(self, archive: Path) -> None:
        """Take an image."""
        self.run("load", "-i", str(archive))

    def run(self, *arguments: str) -> str:
        """Run ``docker``; gives what it prints."""
        done = self._run(*arguments)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def inspect(self, name: str) -> Mapping[str, Any]:
        """What ``docker inspect`` says."""
        found: list[dict[str, Any]] = json.loads(self.run("inspect", name))
        return found[0]

    def clear(self) -> None:
        for identity in self.run("ps", "-aq", "--no-trunc").split():
            self.run("rm", "-f", identity)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [needs.tool("docker", "docker.io"), "-H", f"unix://{self.socket}", *arguments], capture_output=True, text=True
        )


class Podman(Daemon):
    """Podman's service, with a storage and networks of its own."""

    def __init__(self, folder: Path, netns: str) -> None:
        super().__init__(folder, netns)
        # its own limits are beyond what a test may set
        limits = 'default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]'
        network = f'network_config_dir = "{folder}/networks"'
        (folder / "containers.conf").write_text(f"[containers]\n{limits}\n[network]\n{network}\n")

    @property
    def socket(self) -> Path:
        return self.folder / "podman.sock"

    def command(self) -> list[str]:
        return [*self._podman(), "system", "service", "--time=0", f"unix://{self.socket}"]

    def ready(self) -> bool:
        return True  # it listens before it makes the file

    def load(self, archive: Path) -> None:
        """Take an image."""
        self.run("load", "-q", "-i", str(archive))

    def run(self, *arguments: str) -> str:
        """Run ``podman``; gives what it prints."""
        done = subprocess.run([*self.program, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def inspect(self, name: str) -> Mapping[str, Any]:
        """What ``podman inspect`` says."""
        found: list[dict[str, Any]] = json.loads(self.run("inspect", name))
        return found[0]

    def clear(self) -> None:
        self.run("rm", "-fa", "-t", "0")

    @property
    def program(self) -> list[str]:
        """What runs ``podman`` where its service runs, with the same containers."""
        return ["nsenter", f"--net={NETNS / self._netns}", *self._podman()]

    @property
    def used(self) -> Path:
        """A file that is there once it was used."""
        return self.folder / "tmp/alive"

    def _podman(self) -> list[str]:
        runtime = ["--runtime", needs.tool("runc", "runc"), "--cgroup-manager=cgroupfs", "--events-backend=file"]
        places = [
            "--root",
            str(self.folder / "root"),
            "--runroot",
            str(self.folder / "run"),
            "--tmpdir",
            str(self.folder / "tmp"),
        ]
        settings = f"CONTAINERS_CONF={self.folder / 'containers.conf'}"
        return ["env", settings, needs.tool("podman", "podman"), *runtime, "--storage-driver=vfs", *places]


class UsersPodman(Podman):
    """The service of a user's own Podman, whose containers are in user namespaces of that user; all is in ``/run/user``.

    Args:
        netns: where it runs.
        uid: the user; one that there is not.
    """

    def __init__(self, netns: str, uid: int) -> None:
        super().__init__(Path(f"/run/user/{uid}"), netns)
        self._uid = uid
        self.socket.parent.mkdir()
        for place in (self.folder, self.socket.parent):
            os.chown(place, uid, uid)

    @property
    def socket(self) -> Path:
        return self.folder / "podman/podman.sock"

    def load(self, archive: Path) -> None:
        super().load(Path(shutil.copy(archive, self.folder)))

    def end_helpers(self) -> None:
        """End all processes of the user's: one keeps the user namespace."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if process.stat().st_uid == self._uid:
                    os.kill(int(process.name), signal.SIGKILL)

    def _podman(self) -> list[str]:
        user = ["setpriv", f"--reuid={self._uid}", f"--regid={self._uid}", "--clear-groups"]
        return [*user, "env", f"HOME={self.folder}", f"XDG_RUNTIME_DIR={self.folder}", *super()._podman()]


class Containerd(Daemon):
    """containerd with its CRI plugin: pods get addresses of 10.88.0.0/16 in the namespace that it runs in."""

    def __init__(self, folder: Path, netns: str, *, cri: bool = True) -> None:
        super().__init__(folder, netns)
        self._cri, self._pods = cri, dict[str, str]()  # UIDs by ID
        self._beside: list[tuple[str, str]] = []  # namespaces and IDs
        network = {"type": "ptp", "ipam": {"type": "host-local", "subnet": "10.88.0.0/16", "dataDir": str(folder / "ipam")}}
        (folder / "cni").mkdir()
        (folder / "cni/10-lab.conf").write_text(json.dumps({"cniVersion": "0.3.1", "name": "lab", **network}))
        (folder / "config.toml").write_text(_containerd_config(folder, self.socket, cri=cri))

    @property
    def socket(self) -> Path:
        return self.folder / "containerd.sock"

    def command(self) -> list[str]:
        needs.tool("/usr/lib/cni/ptp", "containernetworking-plugins")
        return [needs.tool("containerd", "containerd"), "--config", str(self.folder / "config.toml")]

    def ready(self) -> bool:
        return self._ctr("version").returncode == 0

    def load(self, archive: Path) -> None:
        """Take an image."""
        self.ctr("images", "import", str(archive))
        if self._cri:
            until(lambda: self.call("ImageStatus", {1: {1: IMAGE}}), _READY, 0.1)  # its CRI learns of it by an event

    def ctr(self, *arguments: str, namespace: str = "k8s.io") -> str:
        """Run ``ctr``, in the namespace of Kubernetes if no other is given; gives what it prints."""
        done = self._ctr("-n", namespace, *arguments)
        assert done.returncode == 0, f"ctr {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def beside(self, namespace: str, identity: str, archive: Path, **labels: str) -> None:
        """Run a container in a namespace that is not Kubernetes' own."""
        self.ctr("images", "import", str(archive), namespace=namespace)
        given = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        self.ctr("run", "-d", "--snapshotter", "native", *given, IMAGE, identity, *FOREVER, namespace=namespace)
        self._beside.append((namespace, identity))

    def end_beside(self, namespace: str, identity: str) -> None:
        """End one, and remove it."""
        self._beside.remove((namespace, identity))
        self.ctr("tasks", "rm", "-f", identity, namespace=namespace)
        self.ctr("containers", "rm", identity, namespace=namespace)

    def tasks(self, namespace: str = "k8s.io") -> dict[str, int]:
        """What ``ctr`` says runs: process by ID."""
        rows = [line.split() for line in self.ctr("tasks", "ls", namespace=namespace).splitlines()[1:]]
        return {row[0]: int(row[1]) for row in rows if row[2] == "RUNNING"}

    def pod(self, name: str, uid: str, namespace: str = "default", *, host_network: bool = False) -> str:
        """Run a pod's sandbox; gives its ID. Its control group is as a kubelet names it."""
        config = self._pod_config(name, uid, namespace, host_network=host_network)
        identity = _first_text(self.call("RunPodSandbox", {1: config}))
        self._pods[identity] = uid
        return identity

    def container(self, pod: str, name: str, uid: str, pod_name: str, labels: Mapping[str, str]) -> str:
        """Run a container in a pod; gives its ID."""
        config = {
            1: {1: name}, 2: {1: IMAGE}, 3: list(FOREVER), 9: [{1: key, 2: value} for key, value in labels.items()],
        }  # fmt: skip
        sandbox = self._pod_config(pod_name, uid, "default")
        identity = _first_text(self.call("CreateContainer", {1: pod, 2: config, 3: sandbox}))
        self.call("StartContainer", {1: identity})
        return identity

    def remove(self, pod: str) -> None:
        """Stop and remove a pod and its containers."""
        self.call("StopPodSandbox", {1: pod})
        self.call("RemovePodSandbox", {1: pod})
        uid, hierarchies = self._pods.pop(pod), Path("/sys/fs/cgroup")
        for hierarchy in (hierarchies, *hierarchies.iterdir()):
            with contextlib.suppress(OSError):  # a kubelet's work
                (hierarchy / "kubepods/burstable" / f"pod{uid}").rmdir()

    def clear(self) -> None:
        for pod in list(self._pods):
            self.remove(pod)
        for place in list(self._beside):
            self.end_beside(*place)

    def call(self, method: str, fields: Mapping[int, Any]) -> bytes:
        """Call the CRI; fields by number, as api.proto has them. Gives the answer as it is."""
        import grpc

        with grpc.insecure_channel(f"unix:{self.socket}", [("grpc.default_authority", "localhost")]) as channel:
            services = {"ImageStatus": "ImageService"}
            call = channel.unary_unary(f"/runtime.v1.{services.get(method, 'RuntimeService')}/{method}")
            answer: bytes = call(encoded(fields), timeout=60)
            return answer

    @staticmethod
    def _pod_config(name: str, uid: str, namespace: str, *, host_network: bool = False) -> dict[int, Any]:
        linux = {1: f"/kubepods/burstable/pod{uid}", 2: {1: {1: 2 if host_network else 0}}}
        hostname = {} if host_network else {2: name}  # with the host's network it has the host's name too
        return {1: {1: name, 2: uid, 3: namespace}, **hostname, 6: [{1: "app", 2: name}], 8: linux}

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [needs.tool("ctr", "containerd"), "-a", str(self.socket), *arguments], capture_output=True, text=True
        )


def _containerd_config(folder: Path, socket: Path, *, cri: bool) -> str:
    return f"""
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = {json.dumps([] if cri else ["io.containerd.grpc.v1.cri"])}
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  sandbox_image = "{IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"""


def encoded(fields: Mapping[int, Any]) -> bytes:
    """A message of protobuf: numbers, texts, messages and lists of these, by field number."""
    return b"".join(_field(number, value) for number, value in fields.items())


def _field(number: int, value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(_field(number, item) for item in value)
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else encoded(value)
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _first_text(message: bytes) -> str:
    """Field 1 of an answer that has no other: an ID."""
    assert message[0] == 0x0A
    return message[2 : 2 + message[1]].decode()

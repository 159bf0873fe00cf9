"""Builds a laboratory from its plan, and removes it."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from skytrail.errors import NotSupportedError, RunError
from skytrail.lab.fabric import fabric
from skytrail.lab.places import environment, init_of, node_folder, record_of, run_lines, spawn
from skytrail.lab.plan import Node, Place, Plan
from skytrail.lab.processes import end, read_record, start_recorded
from skytrail.lab.servers import serving, started
from skytrail.lab.state import ROOT, Lab, folder_of, read_lab
from skytrail.lab.two_hosts import two_hosts
from skytrail.pki import Authority

PLANS: Mapping[str, Callable[[], Plan]] = {"two-hosts": two_hosts, "fabric": fabric}

HUB = "hub"
MANAGEMENT = "mgmt"  # the node that joins all agents and this machine; not part of any plan
_UPLINK = "mgmt0"  # what each node calls its end
_TOOLS = {
    "ip": "iproute2",
    "bridge": "iproute2",
    "nft": "nftables",
    "ethtool": "ethtool",
    "sysctl": "procps",
    "ping": "iputils-ping",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
_READY_SECONDS = 60.0
_WIRE, _HTTP = 8083, 8082
_NETS = range(256)

# Process 1 of a node. Its own /run (so that names of namespaces and sockets of daemons are the node's), /sys, /proc, names.
_INIT = """
set -e
folder=$1; name=$2
mount -t tmpfs -o mode=755 lab "$folder/run"
mkdir "$folder/run/netns" "$folder/run/skytrail" "$folder/run/openvswitch" "$folder/run/kept"
mount --bind "$folder" "$folder/run/skytrail"
mount -n --move "$folder/run" /run
mounted=
for one in fs/cgroup fs/bpf kernel/security kernel/tracing kernel/debug; do
    if mountpoint -q "/sys/$one"; then
        mkdir -p "/run/kept/$one"; mount --rbind "/sys/$one" "/run/kept/$one"; mounted="$mounted $one"
    fi
done
mount -t sysfs sysfs /sys
for one in $mounted; do mount --rbind "/run/kept/$one" "/sys/$one"; umount -l "/run/kept/$one"; done
[ ! -e /etc/hosts ] || mount --bind /run/skytrail/hosts /etc/hosts
hostname "$name"
: >/run/skytrail/ready
while :; do sleep 86400 & wait $! || :; done
"""

_SWITCH = (
    "ovsdb-tool create /run/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema",
    "cd /run/openvswitch",
    "ovsdb-server conf.db --remote=punix:db.sock --pidfile --detach --log-file=ovsdb-server.log -vconsole:off",
    "ovs-vsctl --no-wait init",
    "ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --detach --log-file=ovs-vswitchd.log -vconsole:off",
)


def plan_of(lab: Lab) -> Plan:
    """The plan that it was built from."""
    return PLANS[lab.topology]()


def check_tools(plan: Plan) -> None:
    """Whether this machine can hold it.

    Raises:
        NotSupportedError: we are not root, or programs are missing.
    """
    if os.geteuid():
        raise NotSupportedError("a laboratory is made of namespaces, which needs root", "run it with sudo")
    missing = {program: package for program, package in {**_TOOLS, **plan.tools}.items() if shutil.which(program) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise NotSupportedError(f"a laboratory needs {', '.join(missing)}", f"apt install {packages}")


Extra = Callable[[Lab, str], Mapping[str, Mapping[str, object]]]
"""More settings, by section, of the agent of a node or of the hub."""


def build(name: str, topology: str, lock: int, say: Callable[[str], None], extra: Extra = lambda _lab, _node: {}) -> Lab:
    """Build a laboratory; what was built is removed again if something fails.

    Args:
        name: of several.
        topology: a key of :data:`PLANS`.
        lock: held.
        say: told what is being done.
        extra: settings beside those of a laboratory; the hub's are asked for as :data:`HUB`'s.

    Raises:
        NotSupportedError: this machine cannot hold it.
        RunError: something failed.
    """
    plan = PLANS[topology]()
    check_tools(plan)
    remove(name)  # what a killed `up` left
    try:
        return _build(plan, name, lock, say, extra)
    except BaseException:
        remove(name)
        raise


def _build(plan: Plan, name: str, lock: int, say: Callable[[str], None], extra: Extra) -> Lab:
    folder_of(name).mkdir(parents=True)
    with _one_at_a_time():
        lab = Lab(name, plan.topology, _free_net(), f"127.0.0.1:{_free_port(_HTTP)}")
        lab.save()
        _start_nodes(lab, plan, lock)
        _management(lab, plan)
    say("hosts are there; connecting them")
    _connect(lab, plan)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda node: _set_up(lab, node), plan.nodes))
    say("network is there; starting workloads, hub and agents")
    _start_hub(lab, lock, extra(lab, HUB))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda place: _start_app(lab, *place), [(one.name, one.place) for one in plan.workloads]))
        list(pool.map(lambda node: _start_agent(lab, node, extra(lab, node.name)), (one for one in plan.nodes if one.agent)))
    _wait_for_agents(lab, {node.name for node in plan.nodes if node.agent})
    done = Lab(lab.name, lab.topology, lab.index, lab.hub, complete=True)
    done.save()
    return done


def remove(name: str) -> bool:
    """Remove all that there is of a laboratory; says whether there was any. Twice is the same as once.

    Raises:
        RunError: something does not go.
    """
    folder = folder_of(name)
    if not folder.exists():
        return False
    lab = read_lab(name)
    end([*folder.glob("nodes/*/init.pid"), folder / "hub/hub.pid"])
    if lab is not None:  # it goes with the other end, a moment later
        subprocess.run(["ip", "link", "del", lab.link], capture_output=True, check=False)
    shutil.rmtree(folder)
    return True


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Of several laboratories that look for a free network."""
    import fcntl  # noqa: PLC0415

    lock = os.open(ROOT / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _free_net() -> int:
    """The first management network that this machine has no address, route or link in."""
    routes = [route["dst"] for route in _ip("route", "show", "table", "all") if route["dst"] != "default"]
    links = {link["ifname"] for link in _ip("link", "show")}
    taken = [net for net in map(_network, routes) if net is not None]
    for index in _NETS:
        net = ipaddress.ip_network(f"198.18.{index}.0/24")
        if f"skylab{index}" not in links and not any(net.overlaps(other) for other in taken):
            return index
    raise RunError("no network in 198.18.0.0/16 is free: 'skytrail lab down' other laboratories")


def _network(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return None


def _ip(*words: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(
        subprocess.run(["ip", "-j", *words], capture_output=True, check=True).stdout or "[]"
    )
    return found


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as found, contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as who will listen does
            found.bind(("127.0.0.1", port))
            return int(found.getsockname()[1])
    raise RunError("no port is free on 127.0.0.1")


def _start_nodes(lab: Lab, plan: Plan, lock: int) -> None:
    nodes = [*(node.name for node in plan.nodes), MANAGEMENT]
    known = [("127.0.0.1", "localhost"), ("::1", "localhost")]
    known += [(address, one.name) for one in plan.workloads for address in one.address.values()]
    hosts = "".join(f"{address}\t{name}\n" for address, name in known)
    for node in nodes:
        folder = node_folder(lab, node)
        (folder / "run").mkdir(parents=True)
        (folder / "hosts").write_text(hosts)
        spaces = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = ["unshare", *spaces, "sh", "-c", _INIT, "sh", str(folder), node]
        start_recorded(record_of(lab, node), command, lock=lock, log=folder / "init.log")
    for node in nodes:
        _wait_for_node(lab, node)


def _wait_for_node(lab: Lab, node: str) -> None:
    folder = node_folder(lab, node)
    try:
        _until((folder / "ready").exists, lambda: _alive(lab, node), "")
    except RunError:
        raise RunError(f"{node} does not come up: {_last_line(folder / 'init.log')}") from None


def _alive(lab: Lab, node: str) -> bool:
    record = record_of(lab, node)
    return not record.exists() or not record.stat().st_size or read_record(record) is not None


def _until(condition: Callable[[], bool], possible: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not condition():
        if not possible() or time.monotonic() > deadline:
            raise RunError(failure)
        time.sleep(0.02)


def management_addresses(lab: Lab, plan: Plan) -> Mapping[str, str]:
    """Of the nodes that have an agent, by name."""
    return {node: lab.management(number) for number, node in enumerate((node.name for node in plan.nodes if node.agent), 10)}


def _management(lab: Lab, plan: Plan) -> None:
    """One bridge for all nodes with an agent, and this machine."""
    middle = init_of(lab, MANAGEMENT)
    agents = management_addresses(lab, plan)
    batch = [f"link add {lab.link} type veth peer name machine netns {middle}"]
    batch += [f"link add {_UPLINK} netns {init_of(lab, node)} type veth peer name {node} netns {middle}" for node in agents]
    batch += [
        f"link set {lab.link} addrgenmode none",
        f"address add {lab.management(1)}/24 dev {lab.link}",
        f"link set {lab.link} up",
    ]
    _batch(batch)
    ports = [f"ip link set {port} master br0 up" for port in ("machine", *agents)]
    run_lines(lab, Place(MANAGEMENT), ["ip link add br0 type bridge forward_delay 0", "ip link set br0 up", *ports])
    for node, address in agents.items():
        lines = [
            f"ip link set {_UPLINK} addrgenmode none",
            f"ip address add {address}/24 dev {_UPLINK}",
            f"ip link set {_UPLINK} up",
        ]
        run_lines(lab, Place(node), lines)


def _connect(lab: Lab, plan: Plan) -> None:
    inits = {node.name: init_of(lab, node.name) for node in plan.nodes}
    _batch(
        [
            f"link add {left.interface} mtu {cable.mtu} netns {inits[left.node]} type veth "
            f"peer name {right.interface} mtu {cable.mtu} netns {inits[right.node]}"
            for cable in plan.cables
            for left, right in [(cable.left, cable.right)]
        ]
    )


def _batch(lines: list[str]) -> None:
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"ip: {' '.join(done.stderr.split())}")


def _set_up(lab: Lab, node: Node) -> None:
    run_lines(lab, Place(node.name), [*(_SWITCH if node.switch else ()), *node.setup])


def _start_app(lab: Lab, name: str, place: Place) -> None:
    run_lines(lab, place, [started(name, serving())])


def _start_hub(lab: Lab, lock: int, extra: Mapping[str, Mapping[str, object]]) -> None:
    folder = lab.folder / "hub"
    folder.mkdir()
    authority = Authority(lab.folder / "pki")
    authority.init()
    certificate = authority.hub([lab.management(1)])
    settings: dict[str, Any] = {
        "host_id": f"{lab.name}-hub",
        "state_dir": str(folder),
        "hub": {"listen": lab.hub, "wire": f"{lab.management(1)}:{_WIRE}"},
        "wire": {"tls_cert": str(certificate), "tls_key": str(certificate.with_suffix(".key")), "tls_ca": str(authority.ca)},
    }
    config = folder / "skytrail.yaml"
    config.write_text(yaml.safe_dump(_joined(settings, extra)))
    command = [sys.executable, "-m", "skytrail", "hub", "--config", str(config)]
    start_recorded(folder / "hub.pid", command, lock=lock, log=folder / "hub.log", env={**environment(), "SKYTRAIL_CONFIG": ""})


def _start_agent(lab: Lab, node: Node, extra: Mapping[str, Mapping[str, object]]) -> None:
    settings: dict[str, Any] = {
        "host_id": f"{lab.name}-{node.name}",
        "state_dir": "/run/skytrail/state",
        "log": {"format": "json"},
        "agent": {"hubs": [f"{lab.management(1)}:{_WIRE}"], "shared_kernel": True},
        "flow": {"netns": "all", "interfaces": ["*", f"!{_UPLINK}"]},
        "wire": {f"tls_{name}": f"/run/skytrail/{name}.pem" for name in ("cert", "key", "ca")},
    }
    _certify(lab, node)
    (node_folder(lab, node.name) / "skytrail.yaml").write_text(yaml.safe_dump(_joined(settings, extra)))
    spawn(lab, Place(node.name), [sys.executable, "-m", "skytrail", "agent"], "agent")


def _joined(settings: Mapping[str, Any], extra: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    return {**settings, **{section: {**settings.get(section, {}), **keys} for section, keys in extra.items()}}


def _certify(lab: Lab, node: Node) -> None:
    """What an agent proves by that it is its host's, in the folder that it sees."""
    authority, folder = Authority(lab.folder / "pki"), node_folder(lab, node.name)
    certificate = authority.agent([node.name])
    for name, path in (("cert", certificate), ("key", certificate.with_suffix(".key")), ("ca", authority.ca)):
        shutil.copy(path, folder / f"{name}.pem")


def _wait_for_agents(lab: Lab, wanted: set[str]) -> None:
    def missing() -> set[str]:
        return {node for node in wanted if not _captures(lab, node)} or wanted - connected(lab)

    def running() -> bool:
        return read_record(lab.folder / "hub/hub.pid") is not None

    try:
        _until(lambda: not missing(), running, "")
    except RunError:
        if not running():
            raise RunError(f"the hub has ended: {_last_line(lab.folder / 'hub/hub.log')}") from None
        one = min(missing())
        raise RunError(f"no agent came from {one}: {_last_line(node_folder(lab, one) / 'agent.log')}") from None


def _captures(lab: Lab, node: str) -> bool:
    """Whether its agent says that it is ready."""
    with contextlib.suppress(OSError):
        return b'"event": "ready"' in (node_folder(lab, node) / "agent.log").read_bytes()
    return False


def connected(lab: Lab) -> set[str]:
    """Nodes whose agent the hub hears."""
    with (
        contextlib.suppress(urllib.error.URLError, OSError),
        urllib.request.urlopen(f"http://{lab.hub}/api/status", timeout=5) as answer,
    ):
        return {str(agent["Host"]) for agent in json.load(answer)["Agents"].values() if agent["IsConnected"]}
    return set()


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        return (log.read_text(errors="replace").splitlines() or ["nothing in its log"])[-1][:300]
    return "it has no log"

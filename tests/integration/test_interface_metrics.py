"""Metrics of interfaces in real namespaces, against node_exporter, ip, tc, ethtool, nstat and /proc in the same moment."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.needs import missing, tool
from support.netlab import Net, in_netns, unnamed_netns, until

from exporters.interfaces import metrics
from exporters.interfaces.collector import InterfacesCollector
from exporters.interfaces.drivers import DriverStatistics
from exporters.interfaces.source import InterfaceSource
from exporters.interfaces.textfiles import Netstat
from skytrail.http.prometheus import Exposition
from skytrail.kernel.links import LinkWatcher
from skytrail.kernel.worker import NamespaceWorker, current_cookie
from skytrail.metrics import Metric
from skytrail.settings.tree import NETSTAT

Labels = tuple[str, ...]
Samples = dict[tuple[str, Labels], Any]
"""(metric, values of its labels) → value."""

DOCS = Path(__file__).parents[2] / "docs" / "interfaces.md"
COLLECTORS = ("netdev", "netclass", "ethtool", "qdisc", "arp", "softnet", "sockstat", "netstat")


SOCKSTAT = ("/proc/net/sockstat", "/proc/net/sockstat6")
NINE_PACKETS = """
import socket, sys
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(9):
    udp.sendto(bytes(1000), (sys.argv[1], 9))
"""


class Reader:
    """The collector on this kernel."""

    def __init__(self, *, drivers: tuple[str, ...] = (), netstat: tuple[str, ...] = NETSTAT) -> None:
        self.worker = NamespaceWorker()
        self.watcher = LinkWatcher(lambda _: None, self.worker, every_namespace=True)
        self.watcher.start()
        source = InterfaceSource(self.worker, DriverStatistics(drivers) if drivers else None)
        self.collector = InterfacesCollector(
            source.read, self.watcher.namespaces, source.softnet, netstat=Netstat(netstat), most=5000
        )
        assert self.watcher.wait_synced(20)

    def close(self) -> None:
        self.watcher.stop()
        self.worker.close()

    def samples(self) -> Samples:
        """All of them, now."""
        found: Samples = {}
        for family in self.collector.families():
            for labels, value in family.samples:
                assert found.setdefault((family.metric.name, labels), value) is value  # none is told twice
        return found

    def of(self, metric: Metric, netns: str, **labels: str) -> dict[Labels, Any]:
        """The samples of one metric in one namespace: values of those labels that are not given → value."""
        wanted = {"netns": netns, **labels}
        found = {}
        for (name, values), value in self.samples().items():
            named = dict(zip(metric.labels, values, strict=False))
            if name == metric.name and wanted.items() <= named.items():
                found[tuple(word for label, word in named.items() if label not in wanted)] = value
        return found

    def until_known(self, *names: str) -> None:
        """Wait until namespaces of those names are followed."""
        until(lambda: set(names) <= {namespace.name for namespace in self.watcher.namespaces()})


@pytest.fixture
def start_reader(net: Net) -> Iterator[Callable[..., Reader]]:
    made: list[Reader] = []

    def start(**options: Any) -> Reader:
        made.append(Reader(**options))
        return made[-1]

    yield start
    for reader in made:
        reader.close()


@pytest.fixture(scope="session")
def node_exporter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program: out of the folder LAB_BIN, or Debian's."""
    packed = Path(os.environ.get("LAB_BIN", "/nonexistent")) / "node_exporter.zst"
    installed = shutil.which("prometheus-node-exporter")
    if not packed.is_file():
        return installed or missing("no node_exporter: LAB_BIN names no folder with it, no package prometheus-node-exporter")
    program = tmp_path_factory.mktemp("node_exporter") / "node_exporter"
    subprocess.run([tool("zstd", "zstd"), "-dqf", str(packed), "-o", str(program)], check=True)
    program.chmod(0o755)
    return str(program)


class NodeExporter:
    """node_exporter in a namespace, asked through a socket of ours: no packet of a scrape is seen where it counts."""

    def __init__(self, program: str, netns: str) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self._port = listening.getsockname()[1]
        command = [program, "--collector.disable-defaults", "--collector.netclass.netlink", "--web.systemd-socket"]
        command += [f"--collector.{name}" for name in COLLECTORS]
        words = ["nsenter", f"--net=/run/netns/{netns}", *command]
        script = 'exec 3<&0; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'  # sd_listen_fds(3)
        self.process = subprocess.Popen(["sh", "-c", script, "sh", *words], stdin=listening.fileno(), stderr=subprocess.DEVNULL)
        listening.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)

    def samples(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Name → labels → value, of what its collectors tell."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("node_"):
                    found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return {name: values for name, values in found.items() if not name.startswith(("node_scrape", "node_exporter"))}


Ours = tuple[tuple[Metric, Labels], ...]
"""What a metric of node_exporter is with us: the sum of these series: metric, values of its further labels."""


def ours(metric: Metric, *more: str) -> Ours:
    return ((metric, more),)


def reasons(direction: str, *names: str) -> Ours:
    return tuple((metrics.REASONS, (direction, name)) for name in names)


BY_DEVICE = {
    "node_network_receive_bytes_total": ours(metrics.BYTES, "receive"),
    "node_network_transmit_bytes_total": ours(metrics.BYTES, "transmit"),
    "node_network_receive_packets_total": ours(metrics.PACKETS, "receive"),
    "node_network_transmit_packets_total": ours(metrics.PACKETS, "transmit"),
    "node_network_receive_errs_total": ours(metrics.ERRORS, "receive"),
    "node_network_transmit_errs_total": ours(metrics.ERRORS, "transmit"),
    "node_network_receive_drop_total": ours(metrics.DROPS, "receive") + reasons("receive", "missed"),
    "node_network_transmit_drop_total": ours(metrics.DROPS, "transmit"),
    "node_network_receive_multicast_total": ours(metrics.MULTICAST),
    "node_network_receive_fifo_total": reasons("receive", "fifo"),
    "node_network_transmit_fifo_total": reasons("transmit", "fifo"),
    "node_network_receive_frame_total": reasons("receive", "frame", "length", "overrun", "crc"),
    "node_network_receive_nohandler_total": reasons("receive", "no_handler"),
    "node_network_transmit_colls_total": reasons("transmit", "collision"),
    "node_network_transmit_carrier_total": reasons("transmit", "carrier", "aborted", "heartbeat", "window"),
    "node_network_receive_compressed_total": ours(metrics.COMPRESSED, "receive"),
    "node_network_transmit_compressed_total": ours(metrics.COMPRESSED, "transmit"),
    "node_network_up": ours(metrics.UP),
    "node_network_carrier": ours(metrics.CARRIER),
    "node_network_carrier_changes_total": ours(metrics.CARRIER_CHANGES, "up") + ours(metrics.CARRIER_CHANGES, "down"),
    "node_network_carrier_up_changes_total": ours(metrics.CARRIER_CHANGES, "up"),
    "node_network_carrier_down_changes_total": ours(metrics.CARRIER_CHANGES, "down"),
    "node_network_flags": ours(metrics.FLAGS),
    "node_network_mtu_bytes": ours(metrics.MTU),
    "node_network_transmit_queue_length": ours(metrics.QUEUE_LENGTH),
    "node_network_speed_bytes": ours(metrics.SPEED),
}
"""By the label device; a series of ours that is missing is 0."""
INFO_NUMBERS = {
    "node_network_iface_id": "ifindex",
    "node_network_protocol_type": "type",
    "node_network_net_dev_group": "group",
    "node_network_iface_link_mode": "link_mode",
}
INFO_TEXTS = {"address": "address", "broadcast": "broadcast", "ifalias": "alias", "operstate": "operstate", "duplex": "duplex"}
BY_QDISC = {
    "node_qdisc_bytes_total": metrics.QDISC_BYTES,
    "node_qdisc_packets_total": metrics.QDISC_PACKETS,
    "node_qdisc_drops_total": metrics.QDISC_DROPS,
    "node_qdisc_requeues_total": metrics.QDISC_REQUEUES,
    "node_qdisc_overlimits_total": metrics.QDISC_OVERLIMITS,
    "node_qdisc_current_queue_length": metrics.QDISC_LENGTH,
    "node_qdisc_backlog": metrics.QDISC_BACKLOG,
}
OF_SOCKETS = {
    **{
        f"node_sockstat_{protocol}_inuse": (metrics.SOCKETS, protocol)
        for protocol in ("TCP", "TCP6", "UDP", "UDP6", "UDPLITE", "UDPLITE6", "RAW", "RAW6")
    },
    "node_sockstat_FRAG_inuse": (metrics.FRAGMENT_QUEUES, "FRAG"),
    "node_sockstat_FRAG6_inuse": (metrics.FRAGMENT_QUEUES, "FRAG6"),
    "node_sockstat_FRAG_memory": (metrics.FRAGMENT_MEMORY, "FRAG"),
    "node_sockstat_FRAG6_memory": (metrics.FRAGMENT_MEMORY, "FRAG6"),
}
"""Without sockets_used: there node_exporter counts its own sockets too, which it has open meanwhile."""


@pytest.fixture
def busy(net: Net) -> tuple[str, str]:
    """A namespace where every collector has something to tell, and an interface of it; nothing moves there any more."""
    left, right = net.pair()
    netns, device = left.netns, left.interface
    net.ping(netns, right.ip4, count=5)
    net.ip(f"link set {right.interface} down", netns=right.netns)
    net.ip(f"link set {right.interface} up", netns=right.netns)
    net.run(netns, "ping", "-n", "-c", "1", "-W", "1", "10.0.0.77", check=False)  # nobody's address
    net.ip(f"neighbour add 10.0.0.9 lladdr 02:00:00:00:00:09 dev {device}", netns=netns)
    net.run(netns, "tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", "80kbit", "burst", "2000", "limit", "3000")
    net.run(netns, sys.executable, "-c", NINE_PACKETS, right.ip4)
    net.ip("link add br7 type bridge", netns=netns)
    net.ip("link add left7 type veth peer name right7", netns=netns)
    net.ip("link set left7 master br7 alias hello group 7 txqueuelen 77 mtu 1400", netns=netns)
    net.run(netns, "ip", "tuntap", "add", "tap7", "mode", "tap")
    net.run(netns, "ethtool", "-s", "tap7", "speed", "1000", "duplex", "half", "autoneg", "off")
    qdisc = ["tc", "-s", "-j", "qdisc", "show", "dev"]
    until(lambda: json.loads(net.run(netns, *qdisc, device))[0]["backlog"] == 0, 20)
    return netns, device


def still(reader: Reader, exporter: NodeExporter, netns: str) -> tuple[Samples, dict[str, Any]]:
    """What both say of the namespace in a moment around which nothing changed: ours before and after are the same."""

    def once() -> tuple[Samples, dict[str, Any]] | None:
        def mine() -> Samples:
            return {key: value for key, value in reader.samples().items() if netns in key[1]}

        before, theirs, after = mine(), exporter.samples(), mine()
        return (before, theirs) if before == after else None

    found: Any = until(once, 20)
    samples, theirs = found
    return samples, theirs


def test_it_says_what_node_exporter_says(
    busy: tuple[str, str], start_reader: Callable[..., Reader], node_exporter: str
) -> None:
    netns, device = busy
    reader = start_reader()
    reader.until_known(netns)
    with NodeExporter(node_exporter, netns) as exporter:
        samples, theirs = still(reader, exporter, netns)

    infos = {labels[0]: labels for name, labels in samples if name == metrics.INFO.name}
    info = {name: dict(zip(metrics.INFO.labels, labels, strict=True)) for name, labels in infos.items()}
    assert {device, "lo", "br7", "left7", "right7", "tap7"} == set(info)
    compared = set()
    del theirs["node_network_speed_bytes"][("device", "br7"),]  # SPEED_UNKNOWN, told as if it were one
    for name, terms in BY_DEVICE.items():
        for ((_, on),), value in theirs[name].items():
            expected = [samples.get((metric.name, (on, netns, info[on]["kind"], *more)), 0) for metric, more in terms]
            assert sum(expected) == value, (name, on)
            compared.add(name)
    assert compared == set(BY_DEVICE)
    for name, label in INFO_NUMBERS.items():
        assert {on: int(info[on][label]) for ((_, on),) in theirs[name]} == {
            on: int(value) for ((_, on),), value in theirs[name].items()
        }, name
    for pairs in theirs["node_network_info"]:
        shown = dict(pairs)
        shown["duplex"] = shown["duplex"].lower().removeprefix("unknown")
        for label, own in INFO_TEXTS.items():
            assert info[shown["device"]][own] == shown[label], label
    for (_, on), (_, kind) in theirs["node_qdisc_bytes_total"]:
        if kind != "noqueue":
            for name, metric in BY_QDISC.items():
                value = theirs[name][("device", on), ("kind", kind)]
                assert samples[metric.name, (on, netns, info[on]["kind"], kind)] == value, (name, on)
    for name, (metric, protocol) in OF_SOCKETS.items():
        assert samples[metric.name, (netns, protocol)] == theirs[name][()], name
    assert samples[metrics.TIME_WAIT.name, (netns,)] == theirs["node_sockstat_TCP_tw"][()]
    fields = {name.removeprefix("node_netstat_"): value[()] for name, value in theirs.items() if "_netstat_" in name}
    families = (metrics.NETSTAT, metrics.NETSTAT_BYTES, metrics.NETSTAT_VALUES)
    told = {
        "_".join(labels[1:]): value for (name, labels), value in samples.items() if name in {metric.name for metric in families}
    }
    assert fields.items() <= told.items()
    assert len(told) > 30
    entries: dict[str, int] = {}
    for (name, labels), value in samples.items():
        if name == metrics.NEIGHBOURS.name and labels[3] == "ipv4":
            entries[labels[0]] = entries.get(labels[0], 0) + value
    assert entries == {dict(labels)["device"]: value for labels, value in theirs["node_arp_entries"].items()}

    assert info["tap7"]["duplex"] == "half"
    assert samples[metrics.SPEED.name, ("tap7", netns, "tun")] == 1000 * 1e6 / 8
    assert (info["left7"]["master"], info["left7"]["alias"], info["left7"]["group"]) == ("br7", "hello", "7")
    assert samples[metrics.CARRIER_CHANGES.name, (device, netns, "veth", "down")] == 2  # at first, and once more
    assert samples[metrics.QDISC_DROPS.name, (device, netns, "veth", "tbf")] > 0
    assert samples[metrics.NEIGHBOURS.name, (device, netns, "veth", "ipv4", "permanent")] == 1
    documented = DOCS.read_text(encoding="utf-8")
    assert not [name for name in theirs if not name.startswith("node_netstat_") and f"`{name}`" not in documented]


def test_docs_name_only_what_is_declared() -> None:
    words = DOCS.read_text(encoding="utf-8").split("`")[1::2]
    named = {word.partition("{")[0] for word in words if word.startswith("skytrail_")}
    names = {metric.name + ("_info" if metric is metrics.INFO else "") for metric in metrics.DECLARED}

    assert named == names


def test_counters_are_those_of_ip_and_tc(busy: tuple[str, str], net: Net, start_reader: Callable[..., Reader]) -> None:
    netns, device = busy
    reader = start_reader()
    reader.until_known(netns)

    stats = net.link(netns, device)["stats64"]
    for metric, word in (
        (metrics.BYTES, "bytes"),
        (metrics.PACKETS, "packets"),
        (metrics.ERRORS, "errors"),
        (metrics.DROPS, "dropped"),
    ):
        expected = {("receive",): stats["rx"][word], ("transmit",): stats["tx"][word]}
        assert reader.of(metric, netns, device=device, kind="veth") == expected
    (qdisc,) = json.loads(net.run(netns, "tc", "-s", "-j", "qdisc", "show", "dev", device))
    for metric, word in (
        (metrics.QDISC_BYTES, "bytes"),
        (metrics.QDISC_PACKETS, "packets"),
        (metrics.QDISC_DROPS, "drops"),
        (metrics.QDISC_OVERLIMITS, "overlimits"),
        (metrics.QDISC_BACKLOG, "backlog"),
    ):
        assert reader.of(metric, netns, device=device, kind="veth") == {("tbf",): qdisc[word]}


def test_neighbours_are_those_of_ip(net: Net, start_reader: Callable[..., Reader]) -> None:
    left, _ = net.pair(ipv6=True)
    wanted = {"permanent": 300, "stale": 40}
    batch = [
        f"neighbour add 2001:db8::{base + number:x} lladdr 02:00:00:00:00:01 dev {left.interface} nud {state}"
        for base, (state, count) in zip((0x1000, 0x2000), wanted.items(), strict=True)
        for number in range(count)
    ]
    net.run(left.netns, "ip", "-batch", "-", stdin="\n".join(batch))
    reader = start_reader()
    reader.until_known(left.netns)

    def equal() -> bool:
        shown = json.loads(net.ip("-j -6 neighbour show", netns=left.netns))
        counts: dict[Labels, int] = {}
        for entry in shown:
            if entry["dev"] == left.interface:
                key = ("ipv6", entry["state"][0].lower())
                counts[key] = counts.get(key, 0) + 1
        assert reader.of(metrics.NEIGHBOURS, left.netns, device=left.interface, kind="veth") == counts
        return counts["ipv6", "permanent"] == wanted["permanent"]

    until(equal)


def test_protocols_are_those_of_nstat(busy: tuple[str, str], net: Net, start_reader: Callable[..., Reader]) -> None:
    netns, _ = busy
    reader = start_reader(netstat=("*",))
    reader.until_known(netns)

    expected = json.loads(net.run(netns, "nstat", "-a", "-z", "-s", "-j"))["kernel"]

    told = {
        protocol + field: value
        for metric in (metrics.NETSTAT, metrics.NETSTAT_BYTES, metrics.NETSTAT_VALUES)
        for (protocol, field), value in reader.of(metric, netns).items()
    }
    assert len(expected) > 200
    assert {name: told[name] for name in expected if name in told} == {n: v for n, v in expected.items() if n in told}
    assert set(expected) - set(told) == set()
    assert expected["IcmpOutEchos"] >= 5


def test_drivers_tell_what_ethtool_shows_as_far_as_it_is_allowed(
    busy: tuple[str, str], net: Net, start_reader: Callable[..., Reader]
) -> None:
    netns, device = busy
    shown = net.run(netns, "ethtool", "-S", device).splitlines()[1:]
    expected = {name.strip(): int(value) for name, _, value in (line.partition(":") for line in shown)}
    assert len(expected) > 3

    everything = start_reader(drivers=("*",))
    everything.until_known(netns)
    some = start_reader(drivers=("peer_*", "rx_queue_0_drops"))
    some.until_known(netns)
    none = start_reader()
    none.until_known(netns)

    assert everything.of(metrics.DRIVER, netns, device=device, kind="veth") == {(name,): n for name, n in expected.items()}
    chosen = {("peer_ifindex",): expected["peer_ifindex"], ("rx_queue_0_drops",): expected["rx_queue_0_drops"]}
    assert some.of(metrics.DRIVER, netns, device=device, kind="veth") == chosen
    assert not [key for key in none.samples() if key[0] == metrics.DRIVER.name]


def test_sockets_of_a_namespace_are_those_that_are_open_there(net: Net, start_reader: Callable[..., Reader]) -> None:
    netns = net.netns("a", ipv6=True)
    reader = start_reader(drivers=("*",))
    reader.until_known(netns)

    def equal() -> dict[str, int]:
        """A netlink socket counts for a while after it was closed, ours of the reading before too: so not always at once."""
        told = {protocol: count for (protocol,), count in reader.of(metrics.SOCKETS, netns).items()}
        shown = re.findall(r"^(\w+): (?:inuse|used) (\d+)", net.run(netns, "cat", *SOCKSTAT), re.MULTILINE)
        assert told == {protocol: int(count) for protocol, count in shown if "FRAG" not in protocol}
        return told

    before = until(equal)
    opened = in_netns(
        netns,
        lambda: [
            socket.create_server(("127.0.0.1", 0)),
            socket.create_server(("::1", 0), family=socket.AF_INET6),
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
            *(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)),
        ],
    )
    try:
        for bound in opened[3:]:
            bound.bind(("127.0.0.1", 0))
        after = until(equal)
        more = {protocol: after[protocol] - before[protocol] for protocol in after if protocol != "sockets"}
        assert {protocol: count for protocol, count in more.items() if count} == {"TCP": 1, "TCP6": 1, "RAW": 1, "UDP": 3}
    finally:
        for one in opened:
            one.close()


def test_values_of_the_host_are_those_of_proc(start_reader: Callable[..., Reader]) -> None:
    reader = start_reader()

    def processed() -> list[int]:
        return [int(line.split()[0], 16) for line in Path("/proc/net/softnet_stat").read_text().splitlines()]

    def told(metric: Metric) -> list[Any]:
        return [value for (name, _), value in reader.samples().items() if name == metric.name]

    def bounded() -> bool:
        """A CPU's counter has 32 bits: where it began anew meanwhile, the next time."""
        before, mine, after = processed(), told(metrics.SOFTNET_PROCESSED), processed()
        assert len(mine) == os.cpu_count()
        return all(low <= one <= high for low, one, high in zip(before, mine, after, strict=True))

    def equal() -> bool:
        page = os.sysconf("SC_PAGE_SIZE")
        words = Path("/proc/net/sockstat").read_text().split()
        after_tcp = words[words.index("TCP:") :]
        one = {name: int(after_tcp[after_tcp.index(name) + 1]) for name in ("orphan", "alloc", "mem")}
        samples = reader.samples()
        mine = [
            samples[metrics.ORPHANS.name, ()],
            samples[metrics.ALLOCATED.name, ()],
            samples[metrics.SOCKET_MEMORY.name, ("TCP",)],
        ]
        return mine == [one["orphan"], one["alloc"], one["mem"] * page]

    until(bounded)
    until(equal)


def test_flaps_are_counted(net: Net, start_reader: Callable[..., Reader]) -> None:
    left, right = net.pair()
    reader = start_reader()
    reader.until_known(left.netns)

    def changes() -> dict[Labels, Any]:
        return reader.of(metrics.CARRIER_CHANGES, left.netns, device=left.interface, kind="veth")

    before = changes()
    for _ in range(3):
        for state, up in (("down", 0), ("up", 1)):
            net.ip(f"link set {right.interface} {state}", netns=right.netns)
            assert reader.of(metrics.CARRIER, left.netns, device=left.interface, kind="veth") == {(): up}
            until(lambda up=up: reader.of(metrics.UP, left.netns, device=left.interface, kind="veth") == {(): up})
    assert changes() == {(to,): before[to,] + 3 for to in ("up", "down")}


def test_what_vanishes_moves_or_is_renamed_leaves_no_series(net: Net, start_reader: Callable[..., Reader]) -> None:
    left, right = net.pair()
    reader = start_reader()
    reader.until_known(left.netns, right.netns)

    def devices() -> set[tuple[str, str]]:
        metric_names = {metric.name for metric in metrics.DECLARED if "device" in metric.labels}
        return {(labels[0], labels[1]) for (name, labels) in reader.samples() if name in metric_names}

    def namespaces() -> set[str]:
        return {labels[0] for (name, labels) in reader.samples() if name == metrics.SOCKETS.name}

    assert {(left.interface, left.netns), (right.interface, right.netns)} <= devices()
    net.ip(f"link set {left.interface} down", netns=left.netns)
    net.ip(f"link set {left.interface} name {net.name('new')}", netns=left.netns)
    mine = {(device, netns) for device, netns in devices() if netns in {left.netns, right.netns}}
    assert mine == {("lo", left.netns), ("lo", right.netns), (net.name("new"), left.netns), (right.interface, right.netns)}

    net.ip(f"link set {net.name('new')} netns {right.netns}", netns=left.netns)
    mine = {(device, netns) for device, netns in devices() if netns in {left.netns, right.netns}}
    assert mine == {("lo", left.netns), ("lo", right.netns), (net.name("new"), right.netns), (right.interface, right.netns)}

    net.ip("netns del", left.netns)
    until(lambda: left.netns not in namespaces())
    net.ip(f"link del {right.interface}", netns=right.netns)
    assert {device for device, netns in devices() if netns == right.netns} == {"lo"}
    assert (metrics.UNREAD.name, ("refused",)) in reader.samples()


def test_a_namespace_without_a_name_is_told_by_its_inode(net: Net, start_reader: Callable[..., Reader]) -> None:
    process = unnamed_netns()
    try:
        label = f"inode:{Path(f'/proc/{process.pid}/ns/net').stat().st_ino}"
        reader = start_reader()
        until(lambda: reader.of(metrics.MTU, label, device="lo"))
        assert reader.of(metrics.MTU, label, device="lo") == {("loopback",): 65536}
    finally:
        process.kill()
        process.wait()


def test_the_device_of_this_host_tells_every_reason(start_reader: Callable[..., Reader]) -> None:
    physical = [path.parent.name for path in Path("/sys/class/net").glob("*/device")]
    if not physical:
        missing("this host has no physical interface")
    reader = start_reader()

    for device in physical:
        counters = Path("/sys/class/net") / device / "statistics"
        reasons = reader.of(metrics.REASONS, "", device=device, kind="device")
        assert reasons["receive", "crc"] == int((counters / "rx_crc_errors").read_text())
        assert len(reasons) == 14


def test_promtool_has_nothing_to_say(busy: tuple[str, str], start_reader: Callable[..., Reader]) -> None:
    reader = start_reader(drivers=("*",), netstat=("*",))
    reader.until_known(busy[0])
    body, _ = Exposition([reader.collector.families]).render("text/plain")

    done = subprocess.run([tool("promtool", "prometheus"), "check", "metrics"], input=body, capture_output=True, timeout=30)

    assert body.count(b"\n") > 500
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_nothing_stays_open_and_the_worker_is_home(net: Net, start_reader: Callable[..., Reader]) -> None:
    left, right = net.pair()
    reader = start_reader(drivers=("*",))
    reader.until_known(left.netns, right.netns)
    reader.samples()
    descriptors = open_descriptors()

    for _ in range(5):
        reader.samples()

    assert open_descriptors() == descriptors
    own = reader.watcher.namespaces()[0]
    assert reader.worker.run(own, current_cookie) == own.cookie == current_cookie()
    assert in_netns(left.netns, current_cookie) != own.cookie

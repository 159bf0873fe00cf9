"""The drops collector with the watcher that names places: from real drops to metrics and to what a flow says of them."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from support.droplab import kernel_counter, nft_count, nft_drop
from support.identity import plain_id
from support.needs import tool
from support.netlab import End, Net, in_netns, until

from exporters.bpf import layout
from exporters.drops import metrics
from exporters.drops.collector import DropsCollector
from exporters.drops.places import Places, watched
from skytrail.kernel.links import LinkWatcher
from skytrail.kernel.worker import NamespaceWorker, current_cookie
from skytrail.metrics import Metric

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def collector(net: Net) -> Iterator[DropsCollector]:
    """A collector that reads only when it is asked, with the names of all namespaces."""
    worker = NamespaceWorker()
    watcher = LinkWatcher(lambda _: None, worker, every_namespace=True)
    watcher.start()
    made = DropsCollector(lambda: watched(watcher), interval=1e6)
    try:
        assert watcher.wait_synced(10)
        made.start()
        yield made
    finally:
        made.stop()
        watcher.stop()
        worker.close()


def test_what_happens_in_namespaces_of_others_is_theirs(net: Net) -> None:
    a, b = net.pair()
    other, there = net.pair("c", "d")
    names = {in_netns(end.netns, current_cookie): end.netns for end in (a, b)}
    made = DropsCollector(lambda: Places(names, {}), interval=1e6, shared_kernel=True)
    try:
        made.start()
        send_udp(other, there.ip4, 778, 3, 5000)
        send_udp(a, b.ip4, 778, 2, 5000)
        until(lambda: kernel_counter(net, b.netns, "UdpNoPorts") == 2 and kernel_counter(net, there.netns, "UdpNoPorts") == 3)
        made.read()
        told = made.of_flows(key(17, (a.ip4, 5000), (b.ip4, 778)), np.full(1, 4, np.uint8), np.zeros(1, np.uint8))
    finally:
        made.stop()
    assert [one["Drops"]["NO_SOCKET"] for one in told] == [{"AB": 2, "BA": 0}]  # the same addresses are there twice


def samples(collector: DropsCollector, metric: Metric, netns: str) -> Samples:
    """A family's samples of one namespace, without its name."""
    at = metric.labels.index("netns")
    (family,) = (family for family in collector.families() if family.metric is metric)
    return {
        (*labels[:at], *labels[at + 1 :]): value
        for labels, value in family.samples
        if labels[at] == netns and isinstance(value, float)
    }


def send_udp(end: End, target: str, port: int, count: int, source_port: int) -> None:
    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((end.ip4, source_port))
            for _ in range(count):
                sender.sendto(b"x", (target, port))

    in_netns(end.netns, send)


def key(proto: int, first: tuple[str, int], second: tuple[str, int]) -> np.ndarray:
    """A flow's key, as the flows program has it."""
    made = np.zeros(1, layout.KEY6)
    for at, (address, port) in enumerate((first, second)):
        made["addr"][0, at, :4] = np.frombuffer(socket.inet_aton(address), np.uint8)
        made["port"][0, at] = port
    made["tags"] = proto << 8
    return made


def test_drops_and_resets_by_names_and_on_their_flows(net: Net, collector: DropsCollector) -> None:
    a, b = net.pair()
    nft_drop(net, b.netns, "udp dport 777")
    send_udp(a, b.ip4, 777, 7, 5000)
    send_udp(a, b.ip4, 778, 2, 5000)

    def refused() -> None:
        with socket.socket() as client:
            client.bind((a.ip4, 6000))
            assert client.connect_ex((b.ip4, 81)) == errno.ECONNREFUSED

    in_netns(a.netns, refused)
    until(lambda: nft_count(net, b.netns) == 7 and kernel_counter(net, b.netns, "UdpNoPorts") == 2)

    until(lambda: samples(collector, metrics.PACKETS_DROPPED, b.netns))
    assert samples(collector, metrics.PACKETS_DROPPED, b.netns) == {
        (b.interface, "NETFILTER_DROP"): 7,
        (b.interface, "NO_SOCKET"): 3,  # with the SYN
    }
    assert samples(collector, metrics.TCP_RESETS, b.netns) == {("transmit", "NO_SOCKET"): 1}
    assert samples(collector, metrics.TCP_RESETS, a.netns) == {("receive", ""): 1}
    keys = np.zeros(3, layout.KEY6)
    for at, one in enumerate(
        (
            key(17, (a.ip4, 5000), (b.ip4, 777)),
            key(6, (a.ip4, 6000), (b.ip4, 81)),
            key(17, (a.ip4, 5000), (b.ip4, 779)),
        )
    ):
        keys[at] = one[0]
    at = {"Namespace": b.netns, "Interface": b.interface}
    assert collector.of_flows(keys, np.full(3, 4, np.uint8), np.array([0, 1, 0], np.uint8)) == [
        {
            "Drops": {"NETFILTER_DROP": {"AB": 7, "BA": 0}},
            "DropsAt": [{**at, "Reason": "NETFILTER_DROP", "AB": 7, "BA": 0}],
        },
        {
            "Drops": {"NO_SOCKET": {"AB": 0, "BA": 1}},
            "DropsAt": [{**at, "Reason": "NO_SOCKET", "AB": 0, "BA": 1}],
            "ResetsSent": {"AB": 1, "BA": 0},
            "ResetsReceived": {"AB": 1, "BA": 0},
        },
        {},
    ]
    assert collector.lossy(keys, np.full(3, 4, np.uint8)).tolist() == [True, True, False]

    found = {
        (one["Namespace"], one["What"], one.get("Reason", ""), one["Transport"]["B"]): one
        for one in collector.conversations()
        if one["Namespace"] in (a.netns, b.netns)
    }
    assert found.keys() == {
        (b.netns, "Drop", "NETFILTER_DROP", 777),
        (b.netns, "Drop", "NO_SOCKET", 778),
        (b.netns, "Drop", "NO_SOCKET", 81),
        (b.netns, "ResetSent", "NO_SOCKET", 81),
        (a.netns, "ResetReceived", "", 81),
    }
    dropped, sent = found[b.netns, "Drop", "NETFILTER_DROP", 777], found[b.netns, "ResetSent", "NO_SOCKET", 81]
    assert dropped["TrackingID"] == plain_id(17, a.ip4, b.ip4, (5000, 777))
    assert dropped["Network"] == {"Protocol": "IPV4", "A": a.ip4, "B": b.ip4, "IPProtocol": 17}
    assert (dropped["Interface"], dropped["AB"], dropped["BA"]) == (b.interface, 7, 0)
    assert abs(dropped["Last"] - time.time() * 1e3) < 60e3
    assert sent["TrackingID"] == plain_id(6, b.ip4, a.ip4, (81, 6000))


def test_series_of_a_device_end_with_it(net: Net, collector: DropsCollector) -> None:
    a, b = net.pair()
    send_udp(a, b.ip4, 778, 2, 5000)
    until(lambda: samples(collector, metrics.PACKETS_DROPPED, b.netns) == {(b.interface, "NO_SOCKET"): 2})

    net.ip(f"link del {b.interface}", netns=b.netns)

    until(lambda: samples(collector, metrics.PACKETS_DROPPED, b.netns) == {})


def test_many_readers_count_each_drop_once(net: Net, collector: DropsCollector) -> None:
    a, b = net.pair()
    nft_drop(net, b.netns, "udp dport 777")
    sent = threading.Event()

    def scrape() -> None:
        while not sent.is_set():
            list(collector.families())

    readers = [threading.Thread(target=scrape) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        send_udp(a, b.ip4, 777, 20_000, 5000)
    finally:
        sent.set()
        for reader in readers:
            reader.join()

    until(lambda: nft_count(net, b.netns) == 20_000)
    until(lambda: samples(collector, metrics.PACKETS_DROPPED, b.netns) == {(b.interface, "NETFILTER_DROP"): 20_000})


def test_metrics_are_as_prometheus_wants_them(net: Net, collector: DropsCollector) -> None:
    from skytrail.http.prometheus import Exposition

    a, b = net.pair()
    send_udp(a, b.ip4, 778, 2, 5000)
    until(lambda: samples(collector, metrics.PACKETS_DROPPED, b.netns))

    text, _ = Exposition([collector.families]).render("text/plain")

    promtool = tool("promtool", "prometheus")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert done.returncode == 0, done.stdout
    assert f'skytrail_packets_dropped_total{{device="{b.interface}",netns="{b.netns}",reason="NO_SOCKET"}} 2' in text.decode()


def test_collector_ends_with_its_process() -> None:
    code = (
        "import signal\nfrom exporters.drops.collector import DropsCollector\nfrom exporters.drops.places import Places\n"
        "made = DropsCollector(lambda: Places({}, {}), interval=0.01)\nmade.start()\nprint('ready', flush=True)\n"
        "signal.sigwait([signal.SIGTERM])\nmade.stop()\nmade.stop()\nprint(list(made.families()), made.failure)"
    )
    block = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    process = subprocess.Popen([sys.executable, "-c", block + code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"

    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)

    assert said == "[] None\n"
    assert process.returncode == 0

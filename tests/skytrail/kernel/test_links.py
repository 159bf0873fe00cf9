"""The watcher against the kernel, with iproute2 as the oracle."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from skytrail.kernel.linkmessages import Link
from skytrail.kernel.links import LinkWatcher
from skytrail.kernel.linktable import (
    Event,
    LinkChanged,
    LinkGone,
    LinkMoved,
    NamespaceFound,
    NamespaceGone,
    Resynced,
)
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.worker import NamespaceWorker

pytestmark = pytest.mark.kernel

Watch = Callable[..., "Follower"]


class Follower:
    """A watcher, and all that it told."""

    def __init__(self, worker: NamespaceWorker, **options: Any) -> None:
        self.events: list[Event] = []
        self.view: dict[tuple[int, int], Link] = {}
        self.watcher = LinkWatcher(self._take, worker, **options)
        self.watcher.start()
        assert self.watcher.wait_synced(20)

    def _take(self, batch: Sequence[Event]) -> None:
        for event in batch:
            self.events.append(event)
            match event:
                case LinkChanged(link):
                    self.view[link.cookie, link.ifindex] = link
                case LinkGone(cookie, ifindex):
                    self.view.pop((cookie, ifindex), None)
                case LinkMoved(old, _):
                    self.view.pop(old, None)

    def namespace(self, **marks: Any) -> Namespace | None:
        """The followed namespace with these attributes."""
        for namespace in self.watcher.namespaces():
            if all(getattr(namespace, mark) == value for mark, value in marks.items()):
                return namespace
        return None

    def link(self, name: str, namespace: Namespace | None = None) -> Link | None:
        """The link of that name, anywhere or in one namespace."""
        for link in self.watcher.snapshot():
            if link.name == name and (namespace is None or link.cookie == namespace.cookie):
                return link
        return None

    def of(self, namespace: Namespace) -> dict[int, tuple[Any, ...]]:
        """What is known of a namespace's links, comparable with :func:`shown`."""
        links = [link for link in self.watcher.snapshot() if link.cookie == namespace.cookie]
        return {link.ifindex: (link.name, link.kind, link.mac.hex(":"), link.mtu, link.up, link.tunnel_port) for link in links}


def shown(links: dict[int, dict[str, Any]]) -> dict[int, tuple[Any, ...]]:
    """What iproute2 says of a namespace's links."""
    rows = {}
    for ifindex, line in links.items():
        info = line.get("linkinfo", {})
        port = info.get("info_data", {}).get("port")
        up = "UP" in line["flags"]
        rows[ifindex] = (line["ifname"], info.get("info_kind", ""), line.get("address", ""), line["mtu"], up, port)
    return rows


@pytest.fixture
def watch(worker: NamespaceWorker) -> Iterator[Watch]:
    made: list[Follower] = []

    def start(**options: Any) -> Follower:
        made.append(Follower(worker, **{"every_namespace": True, **options}))
        return made[-1]

    yield start
    for follower in made:
        follower.watcher.stop()


def open_namespaces() -> list[str]:
    """The network namespaces that this process holds open by file descriptors."""
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            target = str(fd.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("net:[") or "/netns/" in target or target.endswith("ns/net"):
            found.append(target)
    return found


def test_links_of_every_kind_are_told_as_iproute2_shows_them(lab: Any, watch: Watch) -> None:
    name = lab.netns("a")
    follower = watch()
    lab.batch(
        [
            "link add v0 type veth peer name v1",
            "link add br0 type bridge",
            "link set v1 master br0 up",
            "link add vx0 type vxlan id 10 dstport 4790 local 192.0.2.1",
            "link add mv0 link v0 type macvlan",
            "tuntap add tap0 mode tap",
            "tuntap add tun0 mode tun",
            "link set v0 mtu 1400 up",
            "link set mv0 address 02:00:00:00:00:07",
        ],
        name,
    )
    namespace = lab.until(lambda: follower.namespace(name=name))
    expected = shown(lab.links(name))
    lab.until(lambda: follower.of(namespace) == expected)
    assert {row[1] for row in expected.values()} == {"", "veth", "bridge", "vxlan", "macvlan", "tun"}
    vxlan, port, tun = follower.link("vx0", namespace), follower.link("v1", namespace), follower.link("tun0", namespace)
    bridge, macvlan, veth = (follower.link(one, namespace) for one in ("br0", "mv0", "v0"))
    assert vxlan and port and tun and bridge and macvlan and veth  # noqa: PT018  each is named by the line below
    assert vxlan.tunnel_port == 4790
    assert port.master == bridge.ifindex
    assert macvlan.link == veth.ifindex
    assert (tun.mac, tun.arphrd) == (b"", 65534)
    assert not any(link.perm_mac or link.bus for link in (vxlan, port, tun, bridge, macvlan, veth))


def test_a_burst_of_a_hundred_links_loses_none_coming_or_going(lab: Any, watch: Watch) -> None:
    name = lab.netns("a")
    follower = watch()
    namespace = lab.until(lambda: follower.namespace(name=name))
    lab.batch([f"link add d{number} type bridge" for number in range(100)], name)
    expected = shown(lab.links(name))
    assert len(expected) == 101
    lab.until(lambda: follower.of(namespace) == expected)
    told = {event.link.name for event in follower.events if isinstance(event, LinkChanged)}
    assert {f"d{number}" for number in range(100)} <= told
    lab.batch([f"link del d{number}" for number in range(100)], name)
    lab.until(lambda: len(follower.of(namespace)) == 1)
    gone = [event for event in follower.events if isinstance(event, LinkGone) and event.cookie == namespace.cookie]
    assert {event.ifindex for event in gone} == set(expected) - {1}
    assert len(gone) == 100
    assert follower.watcher.counters.resyncs == 0


def test_links_that_come_while_their_namespace_is_found_are_not_lost(lab: Any, watch: Watch) -> None:
    follower = watch()
    names = [lab.name(f"n{number}") for number in range(20)]
    lab._names += names
    lines = []
    for name in names:
        lines += [f"netns add {name}", *(f"link add {lab.prefix}{n} netns {name} type bridge" for n in range(5))]
    lab.batch(lines)
    for name in names:
        namespace = lab.until(lambda name=name: follower.namespace(name=name))
        lab.until(lambda name=name, namespace=namespace: follower.of(namespace) == shown(lab.links(name)))


def test_a_rename_is_an_update_of_the_same_link(lab: Any, watch: Watch) -> None:
    name = lab.netns("a")
    lab.ip("-n", name, "link", "add", "old", "type", "bridge")
    follower = watch()
    namespace = lab.until(lambda: follower.namespace(name=name))
    before = follower.link("old", namespace)
    lab.ip("-n", name, "link", "set", "old", "name", "new")
    after = lab.until(lambda: follower.link("new", namespace))
    assert before is not None
    assert (before.cookie, before.ifindex) == (after.cookie, after.ifindex)
    assert follower.link("old", namespace) is None
    assert LinkGone(after.cookie, after.ifindex) not in follower.events


def test_a_move_that_keeps_the_number_is_told_as_a_move(lab: Any, watch: Watch) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    lab.ip("-n", here, "link", "add", "m0", "index", "500", "type", "veth", "peer", "name", "m1")
    follower = watch()
    old, new = (lab.until(lambda name=name: follower.namespace(name=name)) for name in (here, there))
    lab.ip("-n", here, "link", "set", "m0", "netns", there)
    lab.until(lambda: (new.cookie, 500) in follower.view)
    assert LinkMoved((old.cookie, 500), (new.cookie, 500)) in follower.events
    assert LinkGone(old.cookie, 500) not in follower.events
    assert follower.of(new) == shown(lab.links(there))


def test_a_move_that_changes_the_number_is_told_with_both(lab: Any, watch: Watch) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    lab.ip("-n", here, "link", "add", "m0", "index", "500", "type", "veth", "peer", "name", "m1")
    lab.ip("-n", there, "link", "add", "taken", "index", "500", "type", "bridge")
    follower = watch()
    old, new = (lab.until(lambda name=name: follower.namespace(name=name)) for name in (here, there))
    lab.ip("-n", here, "link", "set", "m0", "netns", there)
    moved = lab.until(lambda: follower.link("m0", new))
    assert moved.ifindex != 500
    assert LinkMoved((old.cookie, 500), (new.cookie, moved.ifindex)) in follower.events
    assert follower.of(new) == shown(lab.links(there))


def test_a_move_to_a_namespace_that_is_not_known_yet_is_completed(lab: Any, watch: Watch) -> None:
    follower = watch()
    peer, other = lab.name("p"), lab.name("q")
    lab.ip("link", "add", peer, "type", "veth", "peer", "name", other)
    before = lab.until(lambda: follower.link(other))
    process = lab.process()
    lab.ip("link", "set", other, "netns", str(process.pid))
    inode = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
    namespace = lab.until(lambda: follower.namespace(inode=inode), 2)
    after = lab.until(lambda: follower.link(other, namespace))
    old = (before.cookie, before.ifindex)
    moves = [event for event in follower.events if isinstance(event, LinkMoved) and event.old == old]
    assert moves[-1].new == (after.cookie, after.ifindex)
    assert LinkGone(*old) not in follower.events
    assert namespace.name is None


def test_a_link_that_came_back_from_a_namespace_that_nobody_can_find_stays(lab: Any, watch: Watch) -> None:
    follower = watch()
    peer, other = lab.name("p"), lab.name("q")
    lab.ip("link", "add", peer, "type", "veth", "peer", "name", other)
    before = lab.until(lambda: follower.link(other))
    process = lab.process()
    with Path(f"/proc/{process.pid}/ns/net").open() as held:  # only this open file leads to it
        lab.end(process)
        file = f"/proc/{os.getpid()}/fd/{held.fileno()}"
        lab.ip("link", "set", other, "netns", file)
        away = LinkMoved((before.cookie, before.ifindex), None)
        lab.until(lambda: away in follower.events)
        subprocess.run(["nsenter", f"--net={file}", "ip", "link", "set", other, "netns", str(os.getpid())], check=True)
        after = lab.until(lambda: follower.link(other))
        assert after.ifindex == before.ifindex
        lab.until(lambda: follower.watcher._moves.next_deadline is None)
        lab.ip("link", "set", other, "up")
        lab.until(lambda: follower.link(other).up)
    assert LinkGone(before.cookie, before.ifindex) not in follower.events


def test_a_move_to_a_namespace_that_nobody_can_find_ends_in_gone(lab: Any, watch: Watch) -> None:
    follower = watch()
    peer, other = lab.name("p"), lab.name("q")
    lab.ip("link", "add", peer, "type", "veth", "peer", "name", other)
    before = lab.until(lambda: follower.link(other))
    process = lab.process()
    with Path(f"/proc/{process.pid}/ns/net").open() as held:  # only this open file leads to it
        lab.end(process)
        lab.ip("link", "set", other, "netns", f"/proc/{os.getpid()}/fd/{held.fileno()}", check=False)
        if other in {link["ifname"] for link in lab.links().values()}:
            pytest.skip("this iproute2 takes no path for a namespace")
        lab.until(lambda: LinkGone(before.cookie, before.ifindex) in follower.events)
    assert LinkMoved((before.cookie, before.ifindex), None) in follower.events


def test_the_namespace_of_a_process_is_found_soon_after_a_hint(lab: Any, watch: Watch) -> None:
    follower = watch(scan_interval=3600.0)
    process = lab.process()
    inode = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
    started = time.monotonic()
    follower.watcher.hint()
    namespace = lab.until(lambda: follower.namespace(inode=inode), 2)
    assert 0.04 < time.monotonic() - started < 1.0
    lab.until(lambda: follower.of(namespace) == shown(lab.links(pid=process.pid)))
    lab.end(process)
    lab.until(lambda: NamespaceGone(namespace.cookie) in follower.events)
    assert follower.of(namespace) == {}


def test_the_namespace_of_a_process_is_found_by_the_slow_scan(lab: Any, watch: Watch) -> None:
    follower = watch(scan_interval=0.2)
    process = lab.process()
    inode = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
    assert lab.until(lambda: follower.namespace(inode=inode), 2).name is None


def test_many_hints_make_few_scans(lab: Any, watch: Watch) -> None:
    follower = watch(scan_interval=3600.0)
    before = follower.watcher.counters.scans
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        follower.watcher.hint()
    lab.until(lambda: follower.watcher.counters.scans > before)
    assert follower.watcher.counters.scans - before <= 11


def test_a_namespace_that_is_held_open_lives_without_its_name_until_it_is_let_go(lab: Any, watch: Watch) -> None:
    name = lab.netns("a")
    follower = watch()
    namespace = lab.until(lambda: follower.namespace(name=name))
    with Path(f"/run/netns/{name}").open():
        lab.ip("netns", "del", name)
        lab.until(lambda: follower.namespace(cookie=namespace.cookie, name=None))
        assert NamespaceGone(namespace.cookie) not in follower.events
    lab.until(lambda: NamespaceGone(namespace.cookie) in follower.events)
    assert follower.events.index(LinkGone(namespace.cookie, 1)) < follower.events.index(NamespaceGone(namespace.cookie))


def test_a_name_that_is_used_again_and_again_leads_to_the_last_namespace(lab: Any, watch: Watch) -> None:
    follower = watch()
    name = lab.netns("a")
    for _ in range(15):
        lab.ip("netns", "del", name)
        lab.ip("netns", "add", name)
    inode = Path(f"/run/netns/{name}").stat().st_ino
    last = lab.until(lambda: follower.namespace(name=name, inode=inode))
    lab.until(lambda: [one for one in follower.watcher.namespaces() if one.name == name] == [last])
    lab.until(lambda: follower.of(last) == shown(lab.links(name)))
    found = {event.namespace.cookie for event in follower.events if isinstance(event, NamespaceFound)}
    gone = {event.cookie for event in follower.events if isinstance(event, NamespaceGone)}
    assert gone <= found
    assert last.cookie not in gone


def test_no_namespace_is_held_open_and_what_was_opened_is_closed(lab: Any, worker: NamespaceWorker) -> None:
    lab.netns("a")
    lab.process()
    before = len(list(Path("/proc/self/fd").iterdir()))
    held = open_namespaces()
    follower = Follower(worker, every_namespace=True)
    assert open_namespaces() == held
    follower.watcher.stop()
    follower.watcher.stop()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not follower.watcher.alive
    assert "link-watcher" not in {thread.name for thread in threading.enumerate()}


def test_events_that_are_lost_are_made_good_by_dumping_all(lab: Any, watch: Watch) -> None:
    name, doomed = lab.netns("a"), lab.netns("b")
    lab.ip("-n", name, "link", "add", "before", "type", "bridge")
    follower = watch(receive_buffer=1)  # the kernel makes the least of it that it allows
    namespace = lab.until(lambda: follower.namespace(name=name))
    dying = lab.until(lambda: follower.namespace(name=doomed))
    lab.batch(["link del before", *(f"link add d{number} type bridge" for number in range(300))], name)
    lab.ip("netns", "del", doomed)
    expected = shown(lab.links(name))
    lab.until(lambda: follower.of(namespace) == expected and follower.namespace(cookie=dying.cookie) is None, 30)
    assert follower.watcher.counters.resyncs > 0
    lab.until(lambda: follower.events.count(Resynced()) > 1)
    # the watcher knows first, and tells then
    lab.until(lambda: {key[1] for key in follower.view if key[0] == namespace.cookie} == set(expected))
    lab.until(lambda: NamespaceGone(dying.cookie) in follower.events)


def test_a_port_that_leaves_its_bridge_is_not_gone(lab: Any, watch: Watch) -> None:
    name = lab.netns("a")
    lab.batch(["link add br0 type bridge", "link add p0 type veth peer name p1", "link set p0 master br0"], name)
    follower = watch()
    namespace = lab.until(lambda: follower.namespace(name=name))
    port = follower.link("p0", namespace)
    assert port is not None
    lab.ip("-n", name, "link", "set", "p0", "nomaster")
    lab.until(lambda: (link := follower.link("p0", namespace)) is not None and link.master is None)
    assert LinkGone(port.cookie, port.ifindex) not in follower.events


def test_events_and_dumps_agree_on_every_attribute_and_number_namespaces_alike(lab: Any, watch: Watch) -> None:
    follower = watch()
    here, there = lab.netns("a"), lab.netns("b")
    lab.batch(
        [
            f"link add {lab.name('p')} type veth peer name q netns {here}",
            f"link add {lab.name('r')} type veth peer name s netns {there}",
            f"link add x netns {here} type veth peer name y netns {there}",
            f"link set {lab.name('p')} up",
            f"link set {lab.name('r')} mtu 1300 up",
        ]
    )
    lab.batch(["link set q up", "link set x up", "link set q address 02:00:00:00:00:09"], here)
    lab.batch(["link set s up", "link set y up", "link set y name z"], there)

    def ours(links: list[Link]) -> set[Link]:
        cookies = {namespace.cookie for namespace in follower.watcher.namespaces() if namespace.name in {here, there}}
        return {link for link in links if link.cookie in cookies or link.name.startswith(lab.prefix)}

    def agree() -> bool:
        fresh = watch()
        dumped = ours(fresh.watcher.snapshot())
        fresh.watcher.stop()
        return len(dumped) == 8 and ours(follower.watcher.snapshot()) == dumped

    lab.until(agree)
    link = follower.link("x")
    other = follower.namespace(name=there)
    assert link is not None
    assert other is not None
    assert link.link_nsid == other.nsid


def test_only_our_own_namespace_is_followed_unless_asked_otherwise(lab: Any, watch: Watch) -> None:
    there = lab.netns("a")
    follower = watch(every_namespace=False)
    assert [namespace.own for namespace in follower.watcher.namespaces()] == [True]
    peer, other = lab.name("p"), lab.name("q")
    lab.ip("link", "add", peer, "type", "veth", "peer", "name", other)
    before = lab.until(lambda: follower.link(other))
    lab.ip("link", "set", other, "netns", there)
    lab.until(lambda: LinkGone(before.cookie, before.ifindex) in follower.events)
    assert not [event for event in follower.events if isinstance(event, LinkMoved)]
    assert follower.link(peer) is not None


def test_the_first_batch_is_all_that_is_there_and_ends_so(lab: Any, worker: NamespaceWorker) -> None:
    name = lab.netns("a")
    batches: list[list[Event]] = []
    watcher = LinkWatcher(lambda batch: batches.append(list(batch)), worker, every_namespace=True)
    watcher.start()
    try:
        assert watcher.wait_synced(10)
    finally:
        watcher.stop()
    first = batches[0]
    assert first[-1] == Resynced()
    assert first.count(Resynced()) == 1
    found = [event.namespace for event in first if isinstance(event, NamespaceFound)]
    assert found[0].own
    cookie = next(namespace.cookie for namespace in found if namespace.name == name)
    assert any(isinstance(event, LinkChanged) and event.link.cookie == cookie for event in first)


def test_a_sink_that_fails_is_counted_and_does_not_end_the_watcher(lab: Any, worker: NamespaceWorker) -> None:
    name = lab.netns("a")

    def sink(_batch: Sequence[Event]) -> None:
        raise ZeroDivisionError

    watcher = LinkWatcher(sink, worker, every_namespace=True)
    watcher.start()
    try:
        assert watcher.wait_synced(10)
        lab.ip("-n", name, "link", "add", "d0", "type", "bridge")
        lab.until(lambda: "d0" in {link.name for link in watcher.snapshot()})
        lab.until(lambda: watcher.counters.sink_errors > 1)
        assert watcher.alive
    finally:
        watcher.stop()


class Slow(Follower):
    """Takes its time for each batch: it is behind."""

    def _take(self, batch: Sequence[Event]) -> None:
        time.sleep(0.05)
        super()._take(batch)

    def names(self) -> set[str]:
        """Of the links that the sink was told of."""
        return {link.name for link in self.view.values()}


def test_what_was_done_before_catching_up_is_told_after_it(lab: Any, worker: NamespaceWorker) -> None:
    follower = Slow(worker, every_namespace=True)
    try:
        for number in range(5):
            netns, here, there = (lab.name(f"{letter}{number}") for letter in "ndt")
            lab.ip("link", "add", here, "type", "bridge")
            lab.ip("-n", lab.netns(f"n{number}"), "link", "add", there, "type", "bridge")
            assert follower.watcher.catch_up(30)
            assert {here, there} <= follower.names()
            lab.ip("-n", netns, "link", "del", there)
            assert follower.watcher.catch_up(30)
            assert there not in follower.names()
    finally:
        follower.watcher.stop()


def test_nobody_is_waited_for_who_has_ended(watch: Watch) -> None:
    follower = watch()
    follower.watcher.stop()
    assert not follower.watcher.catch_up(30)


def test_an_idle_watcher_sleeps_until_the_next_scan(lab: Any, watch: Watch) -> None:
    lab.netns("a")
    follower = watch(scan_interval=3600.0)
    thread = next(thread for thread in threading.enumerate() if thread.name == "link-watcher")
    switches = Path(f"/proc/self/task/{thread.native_id}/status")

    def slept() -> bool:
        before = switches.read_text()
        time.sleep(0.3)  # what is awaited is that nothing happens
        return before == switches.read_text()

    lab.until(slept)  # the retries of another test's names may come first
    assert follower.watcher.alive

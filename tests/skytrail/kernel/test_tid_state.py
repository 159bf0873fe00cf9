from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from skytrail.kernel import tid_state
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
from skytrail.kernel.tid_state import TidRegistry
from skytrail.kernel.worker import NamespaceWorker

HOST = "host/node-1"
BOOT = "4a1b1ed9-91a2-41b5-959c-d019ebc30408"
OWN = Namespace(2**64 - 1, 10, 4, own=True, of_host=True)  # a cookie of 64 bits
BLUE = Namespace(7, 11, 4, name="blue", nsid=1)
VETH = Link(BLUE.cookie, 5, "v0", "veth")
OTHER_MAC = bytes([2, 0, 0, 0, 0, 77])
ETH = Link(OWN.cookie, 2, "eth0", perm_mac=bytes.fromhex("02fc00000001"), bus="pci/0000:01:00.0")


def registry(folder: Path, boot: str = BOOT, host: str = HOST) -> TidRegistry:
    return TidRegistry(folder, host, boot)


def test_a_virtual_device_keeps_its_first_tid_through_a_rename_and_a_restart(tmp_path: Path) -> None:
    first = registry(tmp_path)
    tid = first.tid_of(VETH, BLUE)
    assert tid == "host/node-1/netns/name/blue/link/veth/v0"
    assert (first.devices(BLUE.cookie), first.devices(OWN.cookie)) == ({5: tid}, {})
    renamed = replace(VETH, name="wan", mac=b"\2\0\0\0\0\1", master=3)
    assert first.tid_of(renamed, BLUE) == tid
    first.close()
    assert registry(tmp_path).tid_of(renamed, BLUE) == tid


def test_a_virtual_device_keeps_its_first_tid_through_a_move_and_a_restart(tmp_path: Path) -> None:
    first = registry(tmp_path)
    tid = first.tid_of(VETH, BLUE)
    first.follow(LinkMoved((7, 5), None))
    first.follow(LinkMoved((7, 5), (OWN.cookie, 9)))
    moved = Link(OWN.cookie, 9, "v0", "veth")
    assert first.tid_of(moved, OWN) == tid
    first.close()
    again = registry(tmp_path)
    assert again.tid_of(moved, OWN) == tid
    assert again.tid_of(VETH, BLUE) != tid  # another device at the old place, while the first lives on


def test_a_device_that_was_never_asked_for_where_it_was_first_seen_is_followed_all_the_same(tmp_path: Path) -> None:
    made = registry(tmp_path)
    for event in (NamespaceFound(OWN), NamespaceFound(BLUE), LinkChanged(VETH), LinkMoved((7, 5), (OWN.cookie, 5))):
        made.follow(event)
    assert made.tid_of(replace(VETH, cookie=OWN.cookie), OWN) == "host/node-1/netns/name/blue/link/veth/v0"


def test_two_living_devices_never_share_a_tid_and_a_dead_ones_is_free(tmp_path: Path) -> None:
    made = registry(tmp_path)
    first = made.tid_of(VETH, BLUE)
    made.tid_of(replace(VETH, name="renamed"), BLUE)
    second = made.tid_of(replace(VETH, ifindex=6), BLUE)
    assert second == f"{first}/2"
    assert made.tid_of(replace(VETH, ifindex=7), BLUE) == f"{first}/3"
    made.follow(LinkGone(7, 5))
    assert made.tid_of(replace(VETH, ifindex=8), BLUE) == first
    assert made.tid_of(replace(VETH, ifindex=6), BLUE) == second


def test_a_physical_device_is_the_same_without_any_state(tmp_path: Path) -> None:
    one, other = registry(tmp_path / "a"), registry(tmp_path / "b", boot="another boot")
    assert one.tid_of(ETH, OWN) == other.tid_of(replace(ETH, cookie=7, ifindex=44, name="wan"), BLUE)


def test_two_physical_devices_with_one_mac_stay_apart_after_a_restart_in_any_order(tmp_path: Path) -> None:
    function = replace(ETH, ifindex=3, name="eth1", bus="pci/0000:02:00.0")
    first = registry(tmp_path)
    tids = first.tid_of(ETH, OWN), first.tid_of(function, OWN)
    first.close()
    again = registry(tmp_path)
    assert (again.tid_of(function, OWN), again.tid_of(ETH, OWN)) == (tids[1], tids[0])
    assert tids[0] != tids[1]


def test_what_went_while_the_agent_was_away_is_forgotten(tmp_path: Path) -> None:
    first = registry(tmp_path)
    tid = first.tid_of(VETH, BLUE)
    first.close()
    again = registry(tmp_path)
    new_blue = replace(BLUE, cookie=8)
    new_veth = replace(VETH, cookie=8)
    again.prune([new_veth], [OWN, new_blue])
    assert again.namespace_tid(new_blue) == "host/node-1/netns/name/blue"
    assert again.tid_of(new_veth, new_blue) == tid
    rows = sqlite3.connect(tmp_path / "tids.sqlite").execute("SELECT cookie FROM device").fetchall()
    assert rows == [("8",)]


def test_another_kind_under_the_same_number_is_another_device(tmp_path: Path) -> None:
    made = registry(tmp_path)
    tid = made.tid_of(VETH, BLUE)
    assert made.tid_of(replace(VETH, kind="vxlan"), BLUE) != tid


def test_a_namespace_keeps_its_first_tid_when_it_loses_its_name_and_another_gets_it(tmp_path: Path) -> None:
    made = registry(tmp_path)
    tid = made.namespace_tid(BLUE)
    made.follow(NamespaceFound(replace(BLUE, name=None)))
    assert made.namespace_tid(replace(BLUE, name=None)) == tid
    other = made.namespace_tid(replace(BLUE, cookie=8))
    assert other == f"host/node-1/netns/boot/{BOOT}/8"
    made.follow(NamespaceGone(7))
    assert made.namespace_tid(replace(BLUE, cookie=9)) == tid


@pytest.mark.parametrize(("boot", "host"), [("another boot", HOST), (BOOT, "host/node-2")])
def test_nothing_is_kept_from_another_boot_or_for_another_host(tmp_path: Path, boot: str, host: str) -> None:
    first = registry(tmp_path)
    old = first.tid_of(VETH, BLUE)
    first.close()
    again = registry(tmp_path, boot, host)
    assert again.tid_of(replace(VETH, name="wan"), BLUE) != old
    assert again.tid_of(replace(VETH, name="wan"), BLUE).startswith(host)


def test_what_was_given_survives_sigkill(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from dataclasses import replace\n"
        "from skytrail.kernel.linkmessages import Link; from skytrail.kernel.namespaces import Namespace\n"
        "from skytrail.kernel.tid_state import TidRegistry\n"
        f"made = TidRegistry(Path(sys.argv[1]), {HOST!r}, {BOOT!r})\n"
        "for number in range(1, 301):\n"
        "    made.tid_of(Link(7, number, f'v{number}', 'veth'), Namespace(7, 11, 4, name='blue'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    again = registry(tmp_path)
    for number in range(1, 301):
        tid = again.tid_of(Link(7, number, "renamed", "veth"), BLUE)
        assert tid == f"host/node-1/netns/name/blue/link/veth/v{number}"


def test_a_folder_that_cannot_be_written_is_warned_of_and_tids_are_given_from_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with structlog.testing.capture_logs() as logs:
        made = registry(tmp_path / "file" / "state")
    assert [(line["event"], line["log_level"]) for line in logs] == [("tid_state_not_kept", "warning")]
    assert "remedy" in logs[0]
    tid = made.tid_of(VETH, BLUE)
    assert made.tid_of(replace(VETH, name="wan"), BLUE) == tid


def test_a_file_that_another_agent_holds_is_warned_of(tmp_path: Path) -> None:
    registry(tmp_path).close()
    other = sqlite3.connect(tmp_path / "tids.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with structlog.testing.capture_logs() as logs:
            made = registry(tmp_path)
            tid = made.tid_of(VETH, BLUE)
        assert [line["event"] for line in logs] == ["tid_state_not_kept"]
        assert made.tid_of(VETH, BLUE) == tid
    finally:
        other.close()


def test_what_was_given_meanwhile_is_kept_once_the_file_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tid_state, "_RETRY", 0.0)
    registry(tmp_path).close()
    other = sqlite3.connect(tmp_path / "tids.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    made = registry(tmp_path)
    with made.together():
        tid = made.tid_of(VETH, BLUE)
    other.close()
    with structlog.testing.capture_logs() as logs, made.together():
        pass
    assert [line["event"] for line in logs] == ["tid_state_kept_again"]
    made.close()
    assert registry(tmp_path).tid_of(replace(VETH, name="wan"), BLUE) == tid


@pytest.mark.parametrize("damage", [b"not a database at all" * 500, b""])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "tids.sqlite").write_bytes(damage)
    made = registry(tmp_path)
    tid = made.tid_of(VETH, BLUE)
    made.close()
    assert registry(tmp_path).tid_of(replace(VETH, name="wan"), BLUE) == tid


def test_a_file_of_an_older_format_is_made_anew(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "tids.sqlite")
    old.executescript("CREATE TABLE device (other TEXT); PRAGMA user_version = 99;")
    old.close()
    made = registry(tmp_path)
    tid = made.tid_of(VETH, BLUE)
    made.close()
    assert registry(tmp_path).tid_of(replace(VETH, name="wan"), BLUE) == tid


@pytest.mark.kernel
def test_real_devices_keep_their_tids_through_renames_moves_and_an_agents_restart(
    lab: Any, worker: NamespaceWorker, tmp_path: Path
) -> None:
    here, there = lab.netns("a"), lab.netns("b")
    lab.ip("-n", here, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    lab.ip("-n", there, "link", "add", "v0", "type", "veth", "peer", "name", "v1")

    agent = Agent(worker, tmp_path)
    before = agent.tid(lab, here, "v0")
    assert before == f"{HOST}/netns/name/{here}/link/veth/v0"
    lab.ip("-n", here, "link", "set", "v0", "name", "x0")
    lab.ip("-n", here, "link", "set", "x0", "netns", there)
    assert agent.tid(lab, there, "x0") == before
    agent.stop()

    agent = Agent(worker, tmp_path)
    assert agent.tid(lab, there, "x0") == before
    tids = [agent.registry.tid_of(link, agent.of(link.cookie)) for link in agent.watcher.snapshot()]
    assert len(set(tids)) == len(tids)
    agent.stop()


class Agent:
    """A watcher and a registry, joined as an agent joins them."""

    def __init__(self, worker: NamespaceWorker, folder: Path) -> None:
        self.registry = registry(folder)
        self.watcher = LinkWatcher(self._take, worker, every_namespace=True)
        self._started = False
        self.watcher.start()
        assert self.watcher.wait_synced(10)

    def _take(self, batch: Sequence[Event]) -> None:
        if not self._started:
            assert Resynced() in batch
            self.registry.prune(self.watcher.snapshot(), self.watcher.namespaces())
            self._started = True
        for event in batch:
            self.registry.follow(event)

    def of(self, cookie: int) -> Namespace:
        return next(namespace for namespace in self.watcher.namespaces() if namespace.cookie == cookie)

    def tid(self, lab: Any, netns: str, name: str) -> str:
        inode = Path(f"/run/netns/{netns}").stat().st_ino

        def find() -> str | None:
            for link in self.watcher.snapshot():
                if link.name == name and self.of(link.cookie).inode == inode:
                    return self.registry.tid_of(link, self.of(link.cookie))
            return None

        found: str = lab.until(find)
        return found

    def stop(self) -> None:
        self.watcher.stop()
        self.registry.close()


def test_a_device_that_moved_while_nobody_looked_is_known_by_kind_and_mac(tmp_path: Path) -> None:
    green = Namespace(8, 12, 4, name="green", nsid=2)
    first, second = (replace(VETH, ifindex=number, name=f"v{number}", mac=bytes([2, 0, 0, 0, 0, number])) for number in (5, 6))
    twins = [replace(VETH, ifindex=number, name=f"t{number}", mac=bytes([2, 0, 0, 0, 9, 9])) for number in (7, 8)]
    made = registry(tmp_path)
    tids = {link.ifindex: made.tid_of(link, BLUE) for link in (first, second, *twins)}
    second = replace(second, mac=bytes([2, 0, 0, 0, 0, 66]))
    assert made.tid_of(second, BLUE) == tids[6]  # another MAC, heard
    made.close()

    again = registry(tmp_path)
    moved = [replace(link, cookie=green.cookie, ifindex=link.ifindex + 10, name=f"m{link.ifindex}") for link in (first, second)]
    alike = [replace(link, cookie=green.cookie) for link in twins]
    other_kind = replace(moved[0], ifindex=30, kind="bridge")
    again.prune([*moved, *alike, other_kind], [BLUE, green])

    assert [again.tid_of(link, green) for link in moved] == [tids[5], tids[6]]
    assert {again.tid_of(link, green) for link in (*alike, other_kind)}.isdisjoint(tids.values())


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"mac": OTHER_MAC}, True),
        ({"name": "wan"}, True),
        ({"mac": OTHER_MAC, "name": "wan"}, False),
        ({"kind": "bridge"}, False),
    ],
)
def test_another_with_the_ifindex_of_one_that_went_unheard_is_another_device(
    tmp_path: Path, changed: dict[str, Any], *, same: bool
) -> None:
    made, link = registry(tmp_path), replace(VETH, **changed)
    tid = made.tid_of(VETH, BLUE)
    made.close()
    again = registry(tmp_path)
    again.prune([link], [BLUE])
    assert (again.tid_of(link, BLUE) == tid) is same


def test_a_bridge_has_the_mac_of_a_port_and_never_comes_from_elsewhere(tmp_path: Path) -> None:
    bridge = replace(VETH, kind="bridge")
    made = registry(tmp_path)
    tid = made.tid_of(bridge, BLUE)
    made.close()
    again, changed = registry(tmp_path), replace(bridge, mac=OTHER_MAC, name="br1")
    again.prune([changed], [BLUE])
    assert again.tid_of(changed, BLUE) == tid


@pytest.mark.parametrize(("version", "missing"), [(1, ("mac", "name")), (2, ("name",))])
def test_a_file_of_a_version_before_is_read(tmp_path: Path, version: int, missing: tuple[str, ...]) -> None:
    made = registry(tmp_path)
    tid = made.tid_of(VETH, BLUE)
    made.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "tids.sqlite")) as database:
        dropped = "".join(f"ALTER TABLE device DROP COLUMN {column};" for column in missing)
        database.executescript(f"{dropped} PRAGMA user_version = {version};")
    again, renamed = registry(tmp_path), replace(VETH, name="wan")
    again.prune([renamed], [BLUE])
    assert again.tid_of(renamed, BLUE) == tid

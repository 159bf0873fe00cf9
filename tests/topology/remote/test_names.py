"""The address book over real gRPC: agents have the hub's, through cut connections, other hubs and other releases."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.netlab import until
from support.wire_v1 import OldAgent, OldHub

from skytrail.addresses.book import Book, Changes, Entry, Owner
from skytrail.addresses.packing import MalformedChangesError, unpack
from skytrail.asking.questions import Part
from skytrail.wire.bookstreams import NO_NAMES
from topology.facts import Report, Source
from topology.remote.outbox import Clocks, Outbox
from topology.remote.receiver import Receiver
from topology.remote.sender import Identity, Sender
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Note

WHEN = 5_000_000


def now() -> int:
    return time.time_ns() // 1000


def entry(number: int, name: str = "", since: int = WHEN) -> Entry:
    return Entry(number.to_bytes(4, "big"), "host/1/netns/a", "host/1", Owner("netns", name or f"n{number}"), since)


class Changing:
    """A source whose book the test changes."""

    def __init__(self) -> None:
        self.number = 0
        self.all: dict[object, Entry] = {}
        self.log: list[Changes] = []
        self.asked: list[int] = []
        self._watchers: list[Callable[[], None]] = []

    def change(self, put: tuple[Entry, ...] = (), gone: tuple[Entry, ...] = ()) -> None:
        for one in gone:
            self.all.pop(one.key)
        self.all |= {one.key: one for one in put}
        self.log.append(Changes(put, gone))
        self.number += 1
        for told in self._watchers:
            told()

    def since(self, number: int) -> tuple[int, Changes]:
        self.asked.append(number)
        if number == self.number:
            return number, Changes()
        if number == 0 or number > self.number:
            return self.number, Changes(tuple(self.all.values()), whole=True)
        later = self.log[number:]
        put = {one.key: one for changes in later for one in changes.put}
        return self.number, Changes(tuple(put.values()), tuple(one for changes in later for one in changes.gone))

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:
        self._watchers.append(told)
        return lambda: self._watchers.remove(told)


class Site:
    """Hubs, and agents with a book."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ends = folder, list[Callable[[], object]]()
        self.store = EmbeddedStore(folder / "hub")

    def hub(self, source: Changing | None, port: int = 0) -> Receiver:
        receiver = Receiver(f"127.0.0.1:{port}", self, self.store, now, names=source or NO_NAMES)
        receiver.start()
        return receiver

    def claim(self, _: Source, __: str) -> bool:
        return False

    def take(self, _: Report, __: Note) -> bool:
        return True

    def keep(self, _: Source, __: Note) -> None:
        pass

    def agent(self, name: str, *ports: int) -> tuple[Sender, Book]:
        outbox, book = Outbox(self._folder / name, 1 << 20, Clocks.of_machine("b")), Book()
        hubs = [f"127.0.0.1:{port}" for port in ports]
        sender = Sender(hubs, outbox, Identity(name, f"tid/{name}"), now, lambda _: iter((Part(),)), book=book)
        self._ends.append(sender.stop)
        sender.start()
        return sender, book

    def close(self) -> None:
        for end in self._ends:
            end()
        self.store.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def named(book: Book, *numbers: int) -> list[str]:
    found = [book.find(number.to_bytes(4, "big"), "", "", now()) for number in numbers]
    return [one.name if one else "" for one in found]


def test_agents_have_the_hubs_book_and_hear_of_each_change(site: Site) -> None:
    source = Changing()
    source.change((entry(1), entry(2)))
    hub = site.hub(source)
    _, one = site.agent("one", hub.port)
    _, two = site.agent("two", hub.port)
    for book in (one, two):
        until(lambda book=book: named(book, 1, 2) == ["n1", "n2"])
    source.change((entry(3),), (entry(1, since=now()),))
    for book in (one, two):
        until(lambda book=book: named(book, 1, 2, 3) == ["", "n2", "n3"])
    assert one.find(bytes((0, 0, 0, 1)), "", "", now() - 60_000_000) == entry(1).owner  # who had it is known
    hub.stop()


def test_a_large_book_comes_in_pieces_and_once(site: Site) -> None:
    source = Changing()
    source.change(tuple(entry(number) for number in range(1, 25_001)))
    hub = site.hub(source)
    sender, book = site.agent("one", hub.port)
    until(lambda: len(book) == 25_000, 20)
    assert sender.book
    assert sender.book.bytes < 16 * 25_000
    assert book.version == 1  # at once: never a part of it
    hub.stop()


def test_a_hub_started_anew_tells_all_and_what_went_meanwhile_is_gone(site: Site) -> None:
    source = Changing()
    source.change((entry(1), entry(2)))
    hub = site.hub(source)
    port = hub.port
    _, book = site.agent("one", port)
    until(lambda: named(book, 1) == ["n1"])
    hub.stop()
    assert named(book, 1, 2) == ["n1", "n2"]  # as it was told last
    other = Changing()
    other.change((entry(2), entry(4)))
    hub = site.hub(other, port)
    until(lambda: named(book, 1, 2, 4) == ["", "n2", "n4"], 20)
    hub.stop()


def test_releases_without_a_book_go_on_as_before(site: Site) -> None:
    old = OldHub()
    sender, book = site.agent("one", old.port)
    until(lambda: sender.hub is not None)
    until(lambda: sender.book is not None and not any("wire-addresses" in name for name in threads()), 5)
    assert not book
    old.stop()

    source = Changing()
    source.change((entry(1),))
    hub = site.hub(source)
    agent = OldAgent(hub.port, "tid/old", "outbox")
    agent.greet()
    agent.report({})
    assert source.asked == []
    agent.close()
    hub.stop()


def threads() -> list[str]:
    import threading

    return [one.name for one in threading.enumerate()]


CUT = zlib.compress(b'[[["AAA","","",["pod","x"],0]],[]]')[:-3]


@pytest.mark.parametrize("body", [b"", b"x", zlib.compress(b"[[[1]],[]]"), CUT, zlib.compress(bytes(40 << 20))])
def test_what_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedChangesError, match="address book"):
        unpack(body)

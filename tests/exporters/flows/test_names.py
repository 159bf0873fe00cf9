"""Names of flows' ends by arrays: as one look-up for each flow would find them; in JSON, spans, history and metrics."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from support.flowrows import NOW, points, random_rows

from exporters.bpf import layout
from exporters.flows.applications import Applications
from exporters.flows.columns import FlowColumns, leaf_of
from exporters.flows.conditions import bounds
from exporters.flows.identify import kind_of
from exporters.flows.names import FlowNames
from exporters.flows.peers import Peers
from exporters.flows.records import Renderer
from exporters.flows.spans import SpanBuilder
from exporters.flows.table import ROW, Batch, Growth, Rows
from exporters.history.flows import GROWS, FlowRecorder, Kept, restore
from exporters.history.flows import _Columns as KeptColumns
from exporters.history.packing import Packed, Table, joined, pack
from skytrail.addresses.book import PROTOCOLS, Book, Changes, Entry, Owner, network_of, port_of
from skytrail.asking.terms import OPERATORS, Compare, Term, compiled

HOST = "host/1"
PLACES = {"": HOST, "blue": f"{HOST}/netns/blue", "red": f"{HOST}/netns/red"}
MINUTE = 60_000_000


def book(seed: int = 1, *, changing: bool = True) -> Book:
    """Some of the addresses of :mod:`support.flowrows`, in some places, that come and go."""
    chance, made = random.Random(seed), Book(keeps=True)
    now = NOW // 1000
    for _ in range(40):
        four = bytes((10, 0, 0, chance.randint(1, 4)))
        six = bytes((0x20, 0, 0, chance.randint(1, 5), *bytes(11), chance.randint(1, 5)))
        place = chance.choice(("", *PLACES.values(), "host/2/netns/x"))
        kind, ports = chance.choice(("pod", "container", "netns", "host", "service")), ()
        if kind == "service":
            ports = tuple(port_of(protocol, port) for protocol in (6, 17) for port in chance.sample((53, 80, 443), 2))
        owner = Owner(kind, f"n{chance.randint(1, 9)}", chance.choice(("", "shop")))
        since = now - chance.randint(-1, 6) * MINUTE if changing else 0
        networks = chance.choice(((), (), (network_of("vxlan", 42),), (network_of("geneve", 0), network_of("vxlan", 42))))
        entry = Entry(chance.choice((four, six)), place, place[:6], owner, since, networks, ports)
        made.apply(Changes((entry,)), now)
        if changing and chance.random() < 0.5:
            over = msgspec.structs.replace(entry, since=since + chance.randint(1, 3) * MINUTE)
            made.apply(Changes(gone=(over,)), now)
    return made


def names(of: Book) -> FlowNames:
    return FlowNames(of, points(), HOST, lambda: PLACES)


def one_by_one(rows: NDArray[Any], of: Book) -> list[dict[str, Any]]:
    """What each flow's JSON is to say, from its JSON."""
    told = []
    for flow, row in zip(Renderer(points(), Applications()).render(rows), rows, strict=True):
        sides = {}
        for side in "AB" if "Network" in flow else "":
            raw = row["key"]["addr"]["AB".index(side) ^ int(row["flow"]["reversed"])].tobytes()
            address = raw[:4] if flow["Network"]["Protocol"] == "IPV4" else raw
            network = network_of(flow["Tunnel"]["Type"], flow["Tunnel"]["ID"]) if "Tunnel" in flow else 0
            plain = kind_of(row["key"]) == layout.KIND_PLAIN and "Transport" in flow
            port = port_of(PROTOCOLS[flow["Transport"]["Protocol"]], flow["Transport"][side]) if plain else 0
            owner = of.find(address, PLACES[flow["Namespace"]], HOST, int(row["start"]) // 1000, network, port)
            if owner is not None:
                sides[side] = owner.shown()
        told.append({"Owner": sides} if sides else {})
    return told


@pytest.mark.parametrize("changing", [False, True])
def test_by_arrays_is_as_one_by_one(changing: bool) -> None:
    for seed in range(1, 6):
        rows, of = random_rows(400, seed), book(seed, changing=changing)
        expected = one_by_one(rows, of)
        assert names(of).shown(rows) == expected
        assert 20 < sum("Owner" in one for one in expected) < 400


def test_nothing_is_named_by_an_empty_book() -> None:
    rows = random_rows(50)
    assert names(Book()).shown(rows) == [{}] * 50
    assert names(Book()).columns(rows, np.zeros(50, np.intp)) == []


def test_what_is_kept_has_the_names_of_then_and_older_files_have_none() -> None:
    rows, of = random_rows(300), book()
    rows["reported"] = rows["flow"]["dir"]
    expected = [one.get("Owner") for one in names(of).shown(rows)]
    recorder = FlowRecorder(None, points(), names=names(of))  # type: ignore[arg-type]  # it is not given anything
    table = recorder.table(Batch(rows, np.zeros(len(rows), np.bool_), NOW))
    every = np.arange(len(rows))
    packed = Packed(pack(table, GROWS))
    assert [flow.get("Owner") for flow in restore(Kept(packed), every, Applications())] == expected
    older = Table(
        {name: column for name, column in table.columns.items() if name not in ("owner", "tunnel")},
        {name: words for name, words in table.words.items() if name != "owner"},
    )
    assert all({"Owner", "Tunnel"}.isdisjoint(flow) for flow in restore(Kept(older), every, Applications()))
    for both in (joined([older, table]), joined([table, older])):  # kept in one file by now
        assert len(list(restore(Kept(both), np.arange(600), Applications()))) == 600


def owner_terms() -> Iterator[tuple[Term, bool]]:
    """Every relation at keys of ``Owner``, and whether arrays are to tell exactly which flows meet it."""
    values: dict[str, Sequence[str]] = {
        "Owner.A.Kind": ("pod", "netns"),
        "Owner.B.Name": ("n1", "n7"),
        "Owner.B.Namespace": ("shop", "none"),
        "Owner.A.Host": ("h",),
        "Owner.A.Nothing": ("x",),
        "Owner.C.Kind": ("pod",),
        "Owner.A.Kind.More": ("pod",),
        "Owner.A": ("pod",),
        "Owner": ("pod",),
    }
    for key, some in values.items():
        for operator, (takes, _) in OPERATORS.items():
            given = {None: tuple(some), 0: (), 1: ("10.0.0.0/8",) if operator == "range" else tuple(some[:1])}[takes]
            yield Compare(key, operator, given), key.count(".") > 1


def assert_bounded(flows: Sequence[dict[str, Any]], columns: FlowColumns) -> None:
    met_by_some = 0
    for term, exact in owner_terms():
        found, met = bounds(term, columns.column, len(flows)), np.array([compiled(term)(flow) for flow in flows])
        assert not (met & ~found.maybe).any(), f"left out: {term}"
        assert not (found.surely & ~met).any(), f"wrongly sure: {term}"
        assert not exact or (found.surely == found.maybe).all(), f"not exact: {term}"
        met_by_some += 0 < met.sum() < len(flows)
    assert met_by_some > 20


def test_whom_flows_are_asked_for_is_answered_by_arrays() -> None:
    rows, of = random_rows(400), book()
    live = FlowColumns(leaf_of(rows), len(rows), points().all, Applications(), lambda: names(of).of(rows))
    assert_bounded(names(of).shown(rows), live)


def test_what_is_kept_is_answered_as_it_was_named() -> None:
    rows, of = random_rows(400), book()
    rows["reported"] = rows["flow"]["dir"]
    flows = names(of).shown(rows)
    recorder = FlowRecorder(None, points(), names=names(of))  # type: ignore[arg-type]  # it is not given anything
    tables = [recorder.table(Batch(part, np.zeros(len(part), np.bool_), NOW)) for part in (rows[:100], rows[100:])]
    kept = Kept(Packed(pack(joined(tables), GROWS)))
    assert_bounded(flows, KeptColumns(kept, points().all, Applications()))
    older = Kept(Table({name: one for name, one in tables[0].columns.items() if name != "owner"}, {}))
    assert KeptColumns(older, points().all, Applications()).column("Owner.A.Kind") is None  # it is asked flow by flow


def test_spans_have_the_owners_of_source_and_destination() -> None:
    rows, of = random_rows(200), book()
    rows["reported"] = rows["flow"]["dir"]
    found = SpanBuilder(points(), Applications(), names=names(of)).build(Batch(rows, np.zeros(200, np.bool_), NOW))
    told: list[dict[str, str]] = [{} for _ in rows]
    for column in found.attributes:
        if ".owner." in column.key:
            present = np.ones(200, np.bool_) if column.present is None else column.present
            for at in np.flatnonzero(present).tolist():
                told[at][column.key] = column.values[at].decode()
    expected = []
    for row, shown in zip(rows, names(of).shown(rows), strict=True):
        a = int(row["flow"]["reversed"])
        source = int(row["flow"]["initiator"]) - 1 if row["flow"]["initiator"] else a
        ends = {"source": "A" if source == a else "B", "destination": "B" if source == a else "A"}
        expected.append(
            {
                f"skytrail.{end}.owner.{key.lower()}": value
                for end, side in ends.items()
                for key, value in shown.get("Owner", {}).get(side, {}).items()
            }
        )
    assert told == expected
    assert sum(map(bool, told)) > 20


class Counted:
    """Peers, fed with flows of the test's own."""

    def __init__(self, of: Book, most: int) -> None:
        self.now = 100.0
        self.rows = random_rows(120, 3)
        self.rows["flow"]["dir"] = 0
        self.names = names(of)
        self.peers = Peers(points(), self.names, most, lambda: self.now)

    def records(self, slots: NDArray[np.intp]) -> Rows:
        return self.rows[slots].view(ROW)

    def grow(self, chance: random.Random) -> None:
        slots = np.array(sorted(chance.sample(range(len(self.rows)), 40)), np.intp)
        packets = np.array([[chance.randint(0, 3), chance.randint(0, 3)] for _ in slots], np.uint64)
        counts = packets * np.uint64(100)
        self.rows["flow"]["dir"]["packets"][slots] += packets
        self.rows["flow"]["dir"]["bytes"][slots] += counts
        flows, proto = self.rows["flow"][slots], np.zeros(len(slots), np.uint8)
        self.peers.grew(Growth(slots, flows, proto, packets, counts, self.records, self.records))

    def told(self) -> dict[tuple[str, ...], float]:
        packets, octets = self.peers.families(0)
        assert {key: 100 * value for key, value in packets.samples} == dict(octets.samples)  # type: ignore[operator]
        return dict(packets.samples)  # type: ignore[arg-type]

    def expected(self) -> Counter[tuple[str, ...]]:
        """By pair, from the JSON of each flow."""
        found: Counter[tuple[str, ...]] = Counter()
        nobody: dict[str, str] = {}
        for row, shown in zip(self.rows, self.names.shown(self.rows), strict=True):
            point, a = points().all[int(row["point"])], int(row["flow"]["reversed"])
            owners = [shown.get("Owner", {}).get("AB"[end ^ a], nobody) for end in (0, 1)]
            for end in (0, 1):
                labels = [owners[side].get(key, "") for side in (end, 1 - end) for key in ("Kind", "Namespace", "Name")]
                if any(labels):
                    found[point.name, point.namespace, *labels] += int(row["flow"]["dir"]["packets"][end])
        return +found


def test_peers_are_told_all_that_was_carried_between_them() -> None:
    chance, counted = random.Random(4), Counted(book(), 1000)
    for _ in range(12):
        counted.now += 3.0
        counted.grow(chance)
    every = np.arange(len(counted.rows))
    counted.peers.ended(every, counted.records)
    assert counted.told() == counted.expected()
    assert len(counted.expected()) > 10


def test_pairs_beyond_the_most_are_one_series() -> None:
    chance, counted = random.Random(4), Counted(book(), 5)
    for _ in range(12):
        counted.grow(chance)
    counted.peers.ended(np.arange(len(counted.rows)), counted.records)
    told = counted.told()
    assert len(told) <= 6
    assert told["overflow", "", "", "", "overflow", "", "", "overflow"] > 0
    assert counted.peers.capped > 0


def test_only_flows_with_a_network_layer_are_named() -> None:
    rows, of = random_rows(300), book(changing=False)
    link = np.asarray(kind_of(rows["key"]) == layout.KIND_LINK)
    codes, _ = names(of).of(rows)
    assert link.any()
    assert not codes[link].any()

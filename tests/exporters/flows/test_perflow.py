"""Top talkers: whatever is chosen, all that was counted stands in some series, and never shrinks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.flows.identify import proto_of
from exporters.flows.perflow import TopTalkers
from exporters.flows.points import Point, Points
from exporters.flows.table import ROW, Growth, Rows

MOST, TTL = 3, 10.0
FLOWS = 8


def row_of(number: int) -> Rows:
    """A UDP flow from 10.0.0.<number>:1000+number to 10.9.9.9:53; of odd numbers B's end is the key's first."""
    row = np.zeros(1, ROW)
    row["key"]["tags"], row["family"], row["identified"] = 17 << 8, 4, True
    row["flow"]["reversed"] = number % 2
    a = number % 2
    row["key"]["addr"][0, a, :4], row["key"]["addr"][0, 1 - a, :4] = (10, 0, 0, number), (10, 9, 9, 9)
    row["key"]["port"][0, a], row["key"]["port"][0, 1 - a] = 1000 + number, 53
    row["tracking"][0, -1] = number
    return row


def growth_of(
    ids: NDArray[np.uint64], packets: NDArray[np.uint64], size: NDArray[np.uint64], reverse: NDArray[np.uint8], rows: Rows
) -> Growth:
    """Growth of flows of these records."""
    flows = np.zeros(len(ids), layout.FLOW)
    flows["id"], flows["reversed"] = ids, reverse
    return Growth(
        np.arange(len(ids)), flows, proto_of(rows["key"]), packets, size, lambda some: rows[some], lambda some: rows[some]
    )


class Talk:
    """Top talkers with a clock of the test's, and what each flow sent in all."""

    def __init__(self) -> None:
        self.now = 100.0
        self.talkers = TopTalkers(Points(zero=Point("eth7", "blue", "tid")), MOST, TTL, lambda: self.now)

    def grow(self, grown: dict[int, tuple[int, int]]) -> None:
        """Flows grow by packets of 100 bytes: from A, from B; beyond FLOWS are later records of the same conversations."""
        numbers = sorted(grown)
        packets = np.zeros((len(numbers), 2), np.uint64)
        for at, number in enumerate(numbers):
            a = number % 2
            packets[at, a], packets[at, 1 - a] = grown[number]
        rows = np.concatenate([np.zeros(0, ROW), *(row_of(number % FLOWS) for number in numbers)])
        reverse = np.array([number % 2 for number in numbers], np.uint8)
        ids = np.array([16 + number for number in numbers], np.uint64)
        self.talkers.grew(growth_of(ids, packets, packets * np.uint64(100), reverse, rows))

    def series(self) -> Iterator[tuple[str, dict[str, str], float]]:
        for family in self.talkers.families(0):
            for labels, value in family.samples:
                assert isinstance(value, float)
                yield family.metric.name, dict(zip(family.metric.labels, labels, strict=True)), value

    def chosen(self) -> set[int]:
        return {
            int(labels["tracking_id"], 16)
            for _, labels, _ in self.series()
            if labels.get("tracking_id", "overflow") != "overflow"
        }

    def sums(self, name: str) -> dict[str, float]:
        found = {"ab": 0.0, "ba": 0.0}
        for metric, labels, value in self.series():
            if metric == name:
                found[labels["direction"]] += value
        return found


class TalkMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk()
        self.sent = np.zeros(2)
        self.before: dict[str, float] = {}

    @rule(
        grown=st.dictionaries(st.integers(0, 3 * FLOWS - 1), st.tuples(st.integers(0, 9), st.integers(0, 9))),
        wait=st.sampled_from([0.0, 1.0, TTL + 1]),
    )
    def grow(self, grown: dict[int, tuple[int, int]], wait: float) -> None:
        self.talk.now += wait
        self.talk.grow(grown)
        self.sent += np.array(list(grown.values())).reshape(-1, 2).sum(axis=0)

    @invariant()
    def everything_is_in_some_series(self) -> None:
        packets, size = (self.talk.sums(f"skytrail_flow_record_{what}_total") for what in ("packets", "bytes"))
        assert [packets["ab"], packets["ba"]] == self.sent.tolist()
        assert [size["ab"], size["ba"]] == (self.sent * 100).tolist()

    @invariant()
    def there_are_never_more_than_allowed(self) -> None:
        assert len(self.talk.chosen()) <= MOST

    @invariant()
    def no_series_is_there_twice(self) -> None:
        named = [(name, *sorted(labels.items())) for name, labels, _ in self.talk.series()]
        assert len(set(named)) == len(named)

    @invariant()
    def overflow_never_shrinks(self) -> None:
        overflow = {
            f"{name} {labels['direction']}": value
            for name, labels, value in self.talk.series()
            if labels.get("tracking_id") == "overflow"
        }
        assert all(value >= self.before.get(key, 0) for key, value in overflow.items())
        self.before = overflow


TestTalk = TalkMachine.TestCase
TestTalk.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


def test_largest_are_chosen_and_a_larger_one_takes_the_place_of_the_smallest() -> None:
    talk = Talk()
    talk.grow({number: (number, 0) for number in range(1, 6)})
    assert talk.chosen() == {3, 4, 5}
    talk.grow({2: (50, 0), 1: (1, 0)})
    assert talk.chosen() == {2, 4, 5}
    [capped] = [value for name, _, value in talk.series() if name == "skytrail_flow_record_capped_total"]
    assert capped == 2 + 1 + 1  # two found no room at first, one then, and one was put out


def test_series_goes_a_while_after_its_last_packet() -> None:
    talk = Talk()
    talk.grow({1: (1, 0), 2: (1, 0)})
    talk.now += TTL - 1
    talk.grow({2: (1, 0)})
    talk.now += 2
    talk.grow({})
    assert talk.chosen() == {2}


def test_records_of_one_conversation_are_one_series() -> None:
    talk = Talk()
    for record in range(12):  # more than are remembered
        talk.grow({3 + record * FLOWS: (1, 2)})
    talk.grow({3 + record * FLOWS: (10, 0) for record in range(12)})
    assert talk.chosen() == {3}
    assert talk.sums("skytrail_flow_record_packets_total") == {"ab": 12 + 120, "ba": 24}


def test_flow_without_addresses_is_labelled_by_its_macs() -> None:
    talk = Talk()
    arp = np.zeros(1, ROW)
    arp["key"]["tags"], arp["family"], arp["identified"] = layout.KIND_LINK, 6, True
    arp["key"]["addr"][0, 0, :6], arp["key"]["addr"][0, 1, :6] = (2, 0, 0, 0, 0, 1), 255
    counts = np.ones((1, 2), np.uint64)
    talk.talkers.grew(growth_of(np.array([16], np.uint64), counts, counts, np.zeros(1, np.uint8), arp))

    [labels] = [
        labels for _, labels, _ in talk.series() if labels.get("direction") == "ab" and labels["tracking_id"] != "overflow"
    ][:1]
    assert (labels["source"], labels["destination"], labels["source_port"]) == ("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "")


def test_labels_tell_who_sends() -> None:
    talk = Talk()
    talk.grow({3: (5, 2)})
    packets = {
        labels["direction"]: (labels, value)
        for name, labels, value in talk.series()
        if name == "skytrail_flow_record_packets_total" and labels["tracking_id"] != "overflow"
    }
    about = {"device": "eth7", "netns": "blue", "tracking_id": f"{3:032x}", "transport": "udp"}
    here, there = ("10.0.0.3", "1003"), ("10.9.9.9", "53")
    for direction, (source, destination), value in (("ab", (here, there), 5), ("ba", (there, here), 2)):
        ends = {
            "source": source[0],
            "source_port": source[1],
            "destination": destination[0],
            "destination_port": destination[1],
        }
        assert packets[direction] == ({**about, **ends, "direction": direction}, value)

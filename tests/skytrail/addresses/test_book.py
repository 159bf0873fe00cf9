"""The address book: who is nearest, who had it when, and that it forgets."""

from __future__ import annotations

import itertools

from skytrail.addresses.book import KINDS, Book, Changes, Entry, Owner

MINUTE = 60_000_000
NOW = 1_000 * MINUTE
ADDRESS = b"\x0a\x00\x00\x01"
HERE, HOST = "host/1/netns/a", "host/1"


def entry(name: str, kind: str = "netns", place: str = HERE, host: str = HOST, since: int = 0) -> Entry:
    return Entry(ADDRESS, place, host, Owner(kind, name), since)


def book(*put: Entry, now: int = NOW) -> Book:
    made = Book()
    made.apply(Changes(put, whole=True), now)
    return made


def found(of: Book, place: str = HERE, host: str = HOST, at: int = NOW) -> str:
    owner = of.find(ADDRESS, place, host, at)
    return owner.name if owner else ""


def test_the_nearest_is_told_and_of_several_as_near_nobody() -> None:
    of = book(
        entry("here"),
        entry("on host", place="host/1/netns/b"),
        entry("away", place="host/2/netns/a", host="host/2"),
        entry("away too", place="host/3/netns/a", host="host/3"),
    )
    assert found(of) == "here"
    assert found(of, place="host/1/netns/c") == ""  # two namespaces of the host
    assert found(of, place="host/2/netns/c", host="host/2") == "away"
    assert found(of, place="host/4", host="host/4") == ""


def test_of_one_place_the_kind_that_tells_most_is_told() -> None:
    for first, second in itertools.pairwise(KINDS):
        for pair in ((first, second), (second, first)):
            assert found(book(*(entry(kind, kind) for kind in pair))) == first
    assert found(book(entry("one", "pod"), entry("two", "pod"), entry("place"))) == ""


def of_cluster(cluster: str, name: str, kind: str = "pod", *, host: str = "", address: bytes = ADDRESS) -> Entry:
    return Entry(address, "", host, Owner(kind, name, cluster=cluster), 0)


def test_of_several_clusters_the_one_that_the_host_is_of_is_told() -> None:
    nodes = [of_cluster(one, "node-1", "node", host=f"host/{one}", address=b"\x0b\0\0\1") for one in "ab"]
    pods = [of_cluster(one, f"web-{one}") for one in "ab"]
    of = book(*nodes, *pods)
    seen = [found(of, place=f"host/{one}/netns/x", host=f"host/{one}") for one in "abc"]
    assert seen == ["web-a", "web-b", ""]
    of.apply(Changes((), (pods[0],)), NOW)
    assert found(of, host="host/a") == "web-b"  # nobody else has it
    of.apply(Changes((of_cluster("b", "more"),)), NOW)
    assert found(of, host="host/b") == ""  # two of one cluster
    same = book(*nodes, *(of_cluster(one, "web") for one in "ab"))
    assert [same.find(ADDRESS, "", f"host/{one}", NOW) for one in "ab"] == [Owner("pod", "web", cluster=one) for one in "ab"]


def test_a_cluster_hides_nobody_who_tells_more() -> None:
    node = of_cluster("a", "n", "node", host=HOST, address=b"\x0b\0\0\1")
    of = book(node, of_cluster("a", "other node", "node", host="host/2"), entry("other host", "host", "host/2", "host/2"))
    assert found(of) == "other host"


def test_the_cluster_that_a_host_was_of_is_forgotten_with_its_node_and_its_pods() -> None:
    node, pod = (of_cluster("a", "x", kind, host=HOST, address=b"\x0b\0\0\1") for kind in ("node", "pod"))
    of = book(node, pod, of_cluster("a", "web-a"), of_cluster("b", "web-b"))
    assert found(of) == "web-a"
    of.apply(Changes((of_cluster("b", "n", "node", host=HOST, address=b"\x0b\0\0\2"),), (node, pod)), NOW)
    of.apply(Changes(), NOW + MINUTE)
    assert found(of, at=NOW + MINUTE) == "web-b"


def test_a_namespace_that_was_made_for_somebody_is_his_from_its_beginning() -> None:
    second = MINUTE // 60
    for lasted, expected in ((second, "pod"), (MINUTE, "ns")):
        of = book()
        of.apply(Changes((entry("ns", since=NOW - lasted),)), NOW)
        assert found(of, at=NOW - 1) == "ns"  # nobody knows better yet
        of.apply(Changes((entry("pod", "pod", since=NOW),), (entry("ns", since=NOW),)), NOW)
        assert [found(of, at=NOW + at) for at in (-lasted, -1, 0)] == [expected, expected, "pod"]
        of.apply(Changes((entry("ns", since=NOW + second),), (entry("pod", "pod", since=NOW + second),)), NOW + second)
        assert found(of, at=NOW + 2 * second) == "ns"  # it outlives its pod


def test_changes_are_known_by_the_clock_of_who_takes_them() -> None:
    of = book(entry("first"))
    ahead = 7 * MINUTE
    gone, put = entry("first", since=NOW + 2 * MINUTE + ahead), entry("second", since=NOW + 2 * MINUTE + ahead)
    of.apply(Changes((put,), (gone,)), NOW + 3 * MINUTE, ahead)
    assert [found(of, at=NOW + at * MINUTE) for at in (0, 1, 2, 3)] == ["first", "first", "second", "second"]
    assert of.settled(ADDRESS, NOW + 2 * MINUTE, NOW + 3 * MINUTE)
    assert not of.settled(ADDRESS, NOW, NOW + 3 * MINUTE)


def test_a_whole_book_ends_what_it_has_not_and_keeps_since_when_the_rest_is() -> None:
    of = book(entry("first"))
    of.apply(Changes((entry("second", since=NOW),), (entry("first", since=NOW),)), NOW)
    of.apply(Changes((entry("second"),), whole=True), NOW + MINUTE)  # by a hub that was started anew
    assert found(of, at=NOW - 2 * MINUTE) == "first"
    of.apply(Changes(whole=True), NOW + 2 * MINUTE)
    assert [found(of, at=NOW + at * MINUTE) for at in (1, 2)] == ["second", ""]


def test_what_is_over_is_forgotten() -> None:
    of = book(entry("first"))
    of.apply(Changes(gone=(entry("first", since=NOW),)), NOW)
    of.apply(Changes(), NOW + 10 * MINUTE)
    assert len(of) == 1
    assert found(of, at=NOW - 1) == "first"
    of.apply(Changes(), NOW + 16 * MINUTE)
    assert not of
    of.apply(Changes((entry("second", since=NOW + 17 * MINUTE),)), NOW + 17 * MINUTE)
    assert found(of, at=NOW + 17 * MINUTE) == "second"


def test_the_same_once_more_changes_nothing() -> None:
    of = book(entry("one"))
    before = dict(of._held)
    of.apply(Changes((entry("one", since=NOW),)), NOW)
    assert of._held == before


def test_a_clock_that_is_set_back_does_not_end_the_forgetting() -> None:
    of = book(entry("first"), now=NOW + 24 * 60 * MINUTE)
    of.apply(Changes(gone=(entry("first", since=NOW),)), NOW)
    of.apply(Changes(), NOW + 16 * MINUTE)
    assert not of

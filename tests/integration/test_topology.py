"""The graph of ``skytrail up`` against what iproute2 says of the same namespaces, now and at every moment before."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.graphlab import GraphLab, Happenings, Step, rename_namespace, shortened, where_now
from support.graphoracle import HOST, Picture, Place, Seen
from support.hublab import Hub, now_us
from support.netlab import Net, unnamed_netns, until

SEQUENCE = 30
BURST = 100
STORM = 3_000
TURNS, FOLLOWERS = 20, 40

StartLab = Callable[..., GraphLab]


@pytest.fixture
def start_lab(net: Net, tmp_path: Path) -> Iterator[StartLab]:
    """A hub in the tests' own namespace, or in one of its own."""
    made: list[GraphLab] = []

    def start(*, apart: bool = False) -> GraphLab:
        hub = Hub(tmp_path / "hub", netns=net.netns("hub") if apart else "")
        made.append(GraphLab(net, hub))
        hub.start()
        return made[-1]

    yield start
    for lab in made:
        lab.hub.close()
        lab.remove_all()


@pytest.fixture
def lab(start_lab: StartLab) -> GraphLab:
    return start_lab()


# Random sequences


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.timeout(400)
def test_graph_is_what_iproute2_says_after_each_of_many_operations_and_at_each_past_moment(lab: GraphLab, seed: int) -> None:
    for suffix in ("p", "q"):
        lab.net.netns(suffix, ipv6=True)
    happenings = Happenings(lab.net, seed)
    when, seen = lab.settled()
    moments: list[tuple[int, Picture, str]] = [(when, seen.picture, "the beginning")]
    for _ in range(SEQUENCE):
        step = happenings.step(seen.picture)
        before = seen
        try:
            when, seen = lab.settled()
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), "after:", *(words for *_, words in moments), step.words])) from error
        assert_same_elements(before, seen, step)
        moments.append((when, seen.picture, step.words))

    assert_past(lab, moments)

    lab.hub.restart()
    _, after = lab.settled()
    assert after.ids == seen.ids
    assert_past(lab, moments)


def assert_same_elements(before: Seen, after: Seen, step: Step) -> None:
    """What is there before and after a step has the same ID."""
    for place, id_ in before.ids.items():
        now = where_now(place, step, after.picture)
        if now is not None:
            assert after.ids[now] == id_, f"{step.words}: {place} has another ID at {now}"


def assert_past(lab: GraphLab, moments: list[tuple[int, Picture, str]]) -> None:
    """The graph at each moment is what the oracle saw then."""
    wrong = []
    for number, (when, picture, words) in enumerate(moments):
        differences = picture.differences(lab.seen(when).picture)
        if differences:
            wrong.append(f"moment {number}, {when} µs, after {words}:\n{shortened(differences)}")
    assert not wrong, "\n".join(wrong)


def test_hub_in_a_namespace_of_its_own_sees_the_others(start_lab: StartLab) -> None:
    lab = start_lab(apart=True)
    left, right = lab.net.netns("p", ipv6=True), lab.net.netns("q", ipv6=True)
    lab.net.ip(f"link add {lab.net.name('a')} type veth peer name {lab.net.name('b')} netns {right}", netns=left)
    lab.net.ip(f"link add {lab.net.name('c')} type veth peer name {lab.net.name('d')} netns {right}", netns=lab.net.name("hub"))
    lab.net.ip(f"link set {lab.net.name('a')} up", netns=left)
    lab.net.ip(f"link set {lab.net.name('b')} up", netns=right)

    lab.settled()


def test_what_was_there_before_the_start_is_in_the_graph(net: Net, start_lab: StartLab) -> None:
    (left, right), bridge = net.pair(ipv6=True), net.name("br")
    net.ip(f"link add {bridge} type bridge", netns=left.netns)
    net.ip(f"link set {left.interface} master {bridge}", netns=left.netns)
    net.ip(f"link add {net.name('m')} link {right.interface} type macvlan mode bridge", netns=right.netns)

    start_lab().settled()


def test_lower_device_of_a_vxlan_is_joined_to_it(lab: GraphLab) -> None:
    left, _ = lab.net.pair()
    lab.net.ip(
        f"link add {lab.net.name('x')} type vxlan id 7 dstport 4790 dev {left.interface} remote 10.0.0.2", netns=left.netns
    )

    _, seen = lab.settled()

    assert [edge for edge in seen.picture.edges if edge[1] == "vxlan"]


def test_edge_to_a_lower_device_follows_it_to_another_namespace(lab: GraphLab) -> None:
    """The kernel tells of the lower device only: what stands on it has other keys without a message of its own."""
    left, right = (lab.net.netns(suffix) for suffix in "pq")
    lab.net.ip(f"link add {lab.net.name('a')} type veth peer name {lab.net.name('b')}", netns=left)
    lab.net.ip(f"link add {lab.net.name('m')} link {lab.net.name('a')} type macvlan mode bridge", netns=left)
    lab.settled()

    lab.net.ip(f"link set {lab.net.name('a')} netns {right}", netns=left)

    _, seen = lab.settled()
    assert [edge[2][0] for edge in seen.picture.edges if edge[1] == "macvlan"] == [right]


def test_port_forwards_once_its_bridge_is_up(lab: GraphLab) -> None:
    left, bridge = lab.net.netns("p"), lab.net.name("br")
    lab.net.ip(f"link add {bridge} type bridge", netns=left)
    lab.net.ip(f"link add {lab.net.name('a')} type veth peer name {lab.net.name('b')}", netns=left)
    for name in (lab.net.name("a"), lab.net.name("b")):
        lab.net.ip(f"link set {name} up", netns=left)
    lab.net.ip(f"link set {lab.net.name('a')} master {bridge}", netns=left)
    _, before = lab.settled()
    port = place_of(before, left, lab.net.name("a"))

    lab.net.ip(f"link set {bridge} up", netns=left)

    _, after = lab.settled()
    assert [seen.picture.nodes[port]["PortState"] for seen in (before, after)] == ["disabled", "forwarding"]


def test_namespace_without_a_name_lives_as_long_as_its_process(lab: GraphLab) -> None:
    process = unnamed_netns()
    try:
        inode = Path(f"/proc/{process.pid}/ns/net").stat().st_ino
        lab.net.ip(f"link add {lab.net.name('a')} type veth peer name {lab.net.name('b')} netns {process.pid}")
        until(lambda: owner_of(lab, lab.net.name("b")).get("Inode") == inode)
        owner = owner_of(lab, lab.net.name("b"))
        [told] = [one for one in json.loads(lab.net.run("", "lsns", "-J", "-t", "net"))["namespaces"] if one["ns"] == inode]
        assert (owner["Type"], owner["Inode"]) == ("netns", told["ns"])
        assert "Path" not in owner
    finally:
        process.kill()
        process.wait()

    until(lambda: not [node for node in lab.hub.graph()["Nodes"] if node["Metadata"].get("Inode") == inode])
    assert owner_of(lab, lab.net.name("b")) == {}


def test_namespace_whose_name_is_no_text_is_shown_and_keeps_nothing_else_from_the_graph(lab: GraphLab) -> None:
    name = os.fsdecode(os.fsencode(lab.net.name("y")) + b"\xff")
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        lab.net.ip(f"link add {lab.net.name('b')} type bridge")
        shown = f"{lab.net.name('y')}\\xff"
        until(lambda: {shown, lab.net.name("b")} <= {node["Metadata"]["Name"] for node in lab.hub.graph()["Nodes"]})
        [node] = [node["Metadata"] for node in lab.hub.graph()["Nodes"] if node["Metadata"]["Name"] == shown]
        assert (node["Inode"], node["Path"]) == (Path(f"/run/netns/{name}").stat().st_ino, f"/run/netns/{shown}")
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def owner_of(lab: GraphLab, name: str) -> dict[str, Any]:
    """What a link of that name belongs to; empty if there is no such link."""
    graph = lab.hub.graph()
    nodes = {node["ID"]: node["Metadata"] for node in graph["Nodes"]}
    owners = [
        nodes[edge["Parent"]]
        for edge in graph["Edges"]
        if edge["Metadata"]["RelationType"] == "ownership" and nodes[edge["Child"]]["Name"] == name
    ]
    return owners[0] if owners else {}


# Identity


@pytest.fixture
def pair(lab: GraphLab) -> tuple[GraphLab, str, str]:
    """Two namespaces, and a veth pair ``a`` and ``b`` between them that is down."""
    left, right = (lab.net.netns(suffix) for suffix in "pq")
    lab.net.ip(f"link add {lab.net.name('a')} type veth peer name {lab.net.name('b')} netns {right}", netns=left)
    return lab, left, right


def place_of(seen: Seen, netns: str, name: str) -> Place:
    """Where a link of that name is."""
    [place] = [place for place, node in seen.picture.nodes.items() if place[0] == netns and place[1] and node["Name"] == name]
    return place


@pytest.mark.parametrize(
    ("words", "key"),
    [("name {new}", "Name"), ("address 02:00:00:00:07:01", "MAC"), ("mtu 1400", "MTU"), ("txqueuelen 77", "TxQueueLen")],
)
def test_change_of_an_interface_is_a_change_of_that_key_alone(pair: tuple[GraphLab, str, str], words: str, key: str) -> None:
    lab, left, _ = pair
    begin, before = lab.settled()
    place = place_of(before, left, lab.net.name("a"))

    lab.net.ip(f"link set {lab.net.name('a')} {words.format(new=lab.net.name('c'))}", netns=left)

    differences = until(lambda: lab.differences(begin, now_us()))
    assert {id_: (one["Change"], list(one["Keys"])) for id_, one in differences.items()} == {
        before.ids[place]: ("changed", [key])
    }
    end, after = lab.settled()
    assert after.ids == before.ids
    assert lab.differences(begin, end).keys() == differences.keys()


def test_interface_moved_to_another_namespace_is_the_same_with_its_edge_to_its_peer(pair: tuple[GraphLab, str, str]) -> None:
    lab, left, right = pair
    begin, before = lab.settled()
    place = place_of(before, left, lab.net.name("a"))

    lab.net.ip(f"link set {lab.net.name('a')} netns {right}", netns=left)

    end, after = lab.settled()
    assert after.ids[place_of(after, right, lab.net.name("a"))] == before.ids[place]
    differences = lab.differences(begin, end)
    coming_and_going = sorted(
        (one["Change"], one["Element"]["Metadata"]["RelationType"], one["Element"]["Parent"], one["Element"]["Child"])
        for one in differences.values()
        if one["Change"] != "changed"
    )
    assert coming_and_going == [
        ("added", "ownership", before.ids[right, 0], before.ids[place]),
        ("removed", "ownership", before.ids[left, 0], before.ids[place]),
    ]
    assert {id_ for id_, one in differences.items() if one["Change"] == "changed"} <= {
        before.ids[place],
        before.ids[place_of(before, right, lab.net.name("b"))],
    }


def test_interfaces_that_leave_the_host_stay_the_same(lab: GraphLab) -> None:
    """The exporter, which by default follows the host's namespace alone, sees them go for good."""
    there, names = lab.net.netns("p"), [lab.net.name(f"a{number}") for number in range(10)]
    lab.batch(*(f"link add {name} type veth peer name {name}b" for name in names))
    _, before = lab.settled()

    lab.batch(*(f"link set {name} netns {there}" for name in names))

    _, after = lab.settled()
    assert {name: after.ids[place_of(after, there, name)] for name in names} == {
        name: before.ids[place_of(before, HOST, name)] for name in names
    }


def test_renamed_namespace_is_the_same_with_all_that_is_in_it(pair: tuple[GraphLab, str, str]) -> None:
    lab, left, _ = pair
    begin, before = lab.settled()

    step = rename_namespace(left, lab.net.name("z"))

    end, after = lab.settled()
    assert_same_elements(before, after, step)
    assert len(after.ids) == len(before.ids)
    differences = lab.differences(begin, end)
    assert set(differences[before.ids[left, 0]]["Keys"]) == {"Name", "Path"}
    assert {one["Change"] for one in differences.values()} == {"changed"}


def test_restart_changes_nothing(pair: tuple[GraphLab, str, str]) -> None:
    lab, left, _ = pair
    lab.net.ip(f"link set {lab.net.name('a')} name {lab.net.name('c')}", netns=left)
    for number in range(20):  # more interfaces than are asked in one go while others wait
        lab.net.ip(f"link add {lab.net.name(f'd{number}')} type bridge", netns=left)
    begin, before = lab.quiet()

    for end_it in (lab.hub.stop, lab.hub.kill):
        end_it()
        lab.hub.start()
        end, after = lab.quiet()
        assert after.ids == before.ids
        assert lab.differences(begin, end) == {}
        assert {place: after.revisions[id_] - before.revisions[id_] for place, id_ in before.ids.items()} == dict.fromkeys(
            before.ids, 0
        ), "new revisions, by place"
        assert after.revisions == before.revisions


def test_host_that_has_another_id_is_there_once(net: Net, tmp_path: Path) -> None:
    def hosts(hub: Hub) -> dict[str, int]:
        nodes = hub.graph()["Nodes"]
        return {
            node["Metadata"]["TID"]: sum(
                f"{one['Metadata']['TID']}/".startswith(f"{node['Metadata']['TID']}/") for one in nodes
            )
            for node in nodes
            if node["Metadata"]["Type"] == "host"
        }

    for host_id in ("aaa", "bbb"):
        hub = Hub(tmp_path / "hub", {"host_id": host_id})
        hub.start()
        try:
            found = hosts(hub)
            assert found.keys() == {f"host/{host_id}"}
            assert found[f"host/{host_id}"] == len(hub.graph()["Nodes"]) > 1
        finally:
            hub.stop()


def test_what_happened_while_the_hub_was_away_is_found_at_its_start(pair: tuple[GraphLab, str, str]) -> None:
    lab, left, right = pair
    for suffix in "gk":
        lab.net.ip(f"link add {lab.net.name(suffix)} type bridge", netns=left)
    begin, before = lab.settled()
    lab.hub.kill()
    lab.net.ip(f"link set {lab.net.name('a')} name {lab.net.name('c')}", netns=left)
    lab.net.ip(f"link del {lab.net.name('g')}", netns=left)
    lab.net.ip(f"link add {lab.net.name('h')} type bridge", netns=right)
    lab.net.ip("netns add", lab.net.name("z"))

    lab.hub.start()

    end, after = lab.settled()
    assert after.ids[place_of(after, left, lab.net.name("c"))] == before.ids[place_of(before, left, lab.net.name("a"))]
    differences = lab.differences(begin, end)
    nodes = sorted(
        (one["Change"], one["Element"]["Metadata"]["Name"]) for one in differences.values() if "Parent" not in one["Element"]
    )
    assert nodes == sorted(
        [
            ("added", "lo"),
            ("added", lab.net.name("h")),
            ("added", lab.net.name("z")),
            ("changed", lab.net.name("c")),
            ("removed", lab.net.name("g")),
        ]
    )


def test_link_of_another_kind_with_the_number_of_one_that_went_is_another_element(pair: tuple[GraphLab, str, str]) -> None:
    lab, left, _ = pair
    name = lab.net.name("x")
    lab.net.ip(f"link add {name} index 77 type bridge", netns=left)
    before, first = lab.settled()

    done = lab.net.run("", "ip", "-n", left, "-batch", "-", stdin=f"link del {name}\nlink add {name} index 77 type ifb\n")

    assert not done
    after, second = lab.settled()
    assert first.ids[left, 77] != second.ids[left, 77]
    changes = {lab.differences(before, after)[seen.ids[left, 77]]["Change"]: seen for seen in (first, second)}
    assert changes.keys() == {"removed", "added"}


def test_interface_that_came_again_under_its_name_was_not_there_meanwhile(pair: tuple[GraphLab, str, str]) -> None:
    lab, left, _ = pair
    moments = []
    for words in ("link add {} type bridge", "link del {}", "link add {} type bridge"):
        lab.net.ip(words.format(lab.net.name("x")), netns=left)
        when, seen = lab.settled()
        moments.append((when, seen.picture, words))

    assert_past(lab, moments)
    there = [any(node["Name"] == lab.net.name("x") for node in picture.nodes.values()) for _, picture, _ in moments]
    assert there == [True, False, True]
    first, last = (lab.seen(moments[number][0]) for number in (0, 2))
    ids = [seen.ids[place_of(seen, left, lab.net.name("x"))] for seen in (first, last)]
    assert ids[0] == ids[1]


# Bursts


def test_nothing_of_a_burst_of_namespaces_is_missing_and_nothing_is_left_of_it(lab: GraphLab) -> None:
    bridge = lab.net.name("br")
    lab.net.ip(f"link add {bridge} type bridge")
    lab.net.ip(f"link set {bridge} up")
    lines = []
    for number in range(BURST):
        names = [lab.net.name(f"{letter}{number}") for letter in "nve"]
        lines += [
            f"netns add {names[0]}",
            f"link add {names[1]} type veth peer name {names[2]} netns {names[0]}",
            f"link set {names[1]} master {bridge} up",
        ]
    lab.batch(*lines)

    when, seen = lab.settled()

    counts = {relation: sum(edge[:2] == relation for edge in seen.picture.edges) for relation in (("layer2", ""), VETH)}
    assert counts == {("layer2", ""): BURST, VETH: BURST}
    assert len(seen.picture.nodes) == 4 * BURST + 1  # namespace, its lo, both ends; the bridge
    lab.batch(f"link del {bridge}", *(f"netns del {lab.net.name(f'n{number}')}" for number in range(BURST)))
    _, empty = lab.settled()
    assert empty.picture == Picture()
    assert_past(lab, [(when, seen.picture, "the burst")])


VETH = ("layer2", "veth")


def test_namespaces_that_come_as_fast_as_others_go_are_all_followed(lab: GraphLab) -> None:
    """The kernel gives inodes and numbers of namespaces that went to the next ones before anybody heard."""
    for turn in range(TURNS):
        lines = []
        for number in range(FOLLOWERS):
            if turn:
                lines.append(f"netns del {lab.net.name(f'n{turn - 1}x{number}')}")
            first, second, there = (lab.net.name(f"{letter}{turn}x{number}") for letter in "ven")
            lines += [f"netns add {there}", f"link add {first} type veth peer name {second} netns {there}"]
        lab.batch(*lines)

        _, seen = lab.settled()

        assert len(seen.picture.nodes) == 4 * FOLLOWERS


@pytest.mark.timeout(400)
def test_graph_is_whole_after_a_kill_in_the_middle_of_a_storm(lab: GraphLab, tmp_path: Path) -> None:
    left = lab.net.netns("p", ipv6=True)
    lab.net.ip(f"link add {lab.net.name('br')} type bridge", netns=left)
    remembered, before = lab.settled()
    lines = tmp_path / "storm"
    lines.write_text("\n".join(storm_lines(lab.net)) + "\n")
    started = lab.hub.status()["store"]["sequence"]
    storm = lab.net.spawn("", "ip", "-n", left, "-batch", str(lines))
    until(lambda: lab.hub.status()["store"]["sequence"] > started + 100, 60, 0.001)
    assert storm.poll() is None, "the storm was over before the kill"

    lab.hub.restart()

    assert storm.wait(120) == 0
    when, after = lab.settled(60)
    assert after.picture != before.picture
    lab.hub.restart()
    lab.settled()
    assert_past(lab, [(remembered, before.picture, "before the storm"), (when, after.picture, "after the storm")])


def storm_lines(net: Net) -> Iterator[str]:
    """Thousands of changes: pairs come, join the bridge, get addresses and another name, and four of five go."""
    for number in range(STORM // 6):
        first, second, renamed = (net.name(f"{letter}{number}") for letter in "vwr")
        yield f"link add {first} type veth peer name {second}"
        yield f"link set {first} master {net.name('br')} up"
        yield f"addr add 10.{number // 250}.{number % 250}.1/24 dev {second}"
        yield f"link set {second} mtu {1300 + number % 100} up"
        yield f"link set {second} name {renamed}"
        yield f"link del {first}" if number % 5 else f"link set {first} nomaster"


# Quiet


def test_reading_and_traffic_make_no_revision(lab: GraphLab) -> None:
    left, right = lab.net.pair()
    lab.net.ping(left.netns, right.ip4)
    begin, before = lab.quiet()

    lab.net.ping(left.netns, right.ip4, count=20)

    for _ in range(5):
        assert lab.seen().revisions == before.revisions
        assert lab.seen(begin).revisions == before.revisions
    assert lab.differences(begin, now_us()) == {}


def test_reading_leaves_the_feed_where_it_is(lab: GraphLab) -> None:
    lab.net.pair()
    lab.settled()

    def quiet() -> bool:
        before = lab.hub.status()["store"]["sequence"]
        for _ in range(5):
            lab.hub.graph()
            lab.hub.diff(now_us() - 1_000_000, now_us())
        assert lab.hub.status()["store"]["sequence"] == before  # other namespaces of the machine may have changed: try again
        return True

    until(quiet, 30.0)

"""What vanished, and where: from counts and from what kernels dropped; copies are no loss."""

from __future__ import annotations

from typing import Any

from topology.trace.copies import without_copies
from topology.trace.losses import Cause, Loss, Place, causes_of, happened, losses
from topology.trace.sightings import FORTH, End, Ends, Sighting, Tunnel, Ways

CLIENT, SERVER = End("10.0.1.1", 40000), End("10.0.2.1", 80)
ENDS = Ends(CLIENT, SERVER)


def seen(host: str, interface: str, hook: str, packets: int, namespace: str = "", **more: Any) -> Sighting:
    back = {"ingress": "egress", "egress": "ingress", "": ""}[hook]
    made = Sighting(host, namespace, interface, f"{host}/{namespace}/{interface}", "t", ENDS, (hook, back))
    made.packets = Ways(packets, 0)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def found(path: list[Sighting], causes: list[Cause] | None = None, later: dict[int, int] | None = None) -> list[Loss]:
    def holds(host: str, namespace: str) -> bool:
        return (host, namespace) == ("h2", "web")

    return losses(path, FORTH, later or {}, causes or [], holds, lambda one: not holds(*one.place), lambda *_: True)


WAY = [seen("h1", "eth0", "egress", 5), seen("r", "left", "ingress", 5), seen("r", "right", "egress", 5)]
END = seen("h2", "eth0", "ingress", 5, "web")


def test_what_arrives_is_no_loss() -> None:
    assert found([*WAY, END]) == []


def test_fewer_packets_further_on() -> None:
    (one,) = found([*WAY, seen("h2", "eth0", "ingress", 3, "web")])
    assert (one.after, one.packets) == (WAY[2], 2)
    assert one.before is not None


def test_what_was_on_its_way_at_the_first_look_is_no_loss() -> None:
    late = seen("h2", "eth0", "ingress", 3, "web")
    assert found([*WAY, late], later={id(late): 5}) == []
    assert [one.packets for one in found([*WAY, late], later={id(late): 4})] == [1]


def test_the_end_of_what_is_seen() -> None:
    (one,) = found(WAY[:2])
    assert (one.after, one.before, one.packets) == (WAY[1], None, 5)


def test_what_need_not_be_seen_again_is_no_loss() -> None:
    assert losses(WAY, FORTH, {}, [], lambda *_: False, lambda _: False, lambda *_: True) == []


def test_counts_that_tell_nothing_are_no_loss() -> None:
    assert (
        losses([WAY[0], seen("h2", "eth0", "ingress", 3)], FORTH, {}, [], lambda *_: True, lambda _: False, lambda *_: False)
        == []
    )


def test_what_was_missing_before_the_first_point() -> None:
    first = seen("r", "left", "ingress", 5, gone=Ways(2, 0))
    (one,) = found([first, WAY[2], END])
    assert (one.after, one.before, one.packets) == (None, first, 2)


def test_the_kernel_s_reason_is_joined_to_the_loss_there() -> None:
    reason = Cause("NETFILTER_DROP", Place("r", "", "left"), Ways(5, 0))
    back = Cause("NETFILTER_DROP", Place("r", "", "left"), Ways(0, 3))
    (one,) = found(WAY[:2], [reason, back])
    assert one.causes == (reason,)


def test_a_drop_where_packets_arrive_is_a_loss_of_its_own() -> None:
    reason = Cause("NETFILTER_DROP", Place("h2", "web", "eth0"), Ways(5, 0))
    (one,) = found([*WAY, END], [reason])
    assert (one.after, one.packets, one.causes) == (END, 5, (reason,))


def test_a_tunnel_s_drops_explain_a_loss_and_are_none() -> None:
    tunnel = Tunnel("VXLAN", 10, "192.0.2.1", "192.0.2.2", Ways(63, 0), "outer")
    inside = [seen("h1", "eth0", "egress", 5, tunnel=tunnel), seen("r", "left", "ingress", 5, tunnel=tunnel)]
    outer = Cause("IP_INNOROUTES", Place("r", "", "right"), Ways(900, 0), outer=True)
    (one,) = found(inside, [outer])
    assert [(cause.reason, cause.place.interface) for cause in one.causes] == [("IP_INNOROUTES", "left")]
    assert found([*WAY, END], [outer]) == []


def test_what_an_end_had_no_need_of_and_what_was_before_is_no_drop_of_it() -> None:
    def drop(reason: str, last: int = 5000, what: str = "Drop") -> tuple[str, dict[str, Any]]:
        return "h2", {"What": what, "Reason": reason, "Last": last, "TrackingID": "t"}

    here = seen("h2", "eth0", "ingress", 5, start=4000)
    told = [
        drop("TCP_OLD_DATA"),
        drop("NO_SOCKET"),
        drop("NETFILTER_DROP"),
        drop("NETFILTER_DROP", 3000),
        drop("", what="Retransmit"),
    ]
    assert [one["Reason"] for _, one in happened(told, [here], opened=True)] == ["NETFILTER_DROP"]
    assert [one["Reason"] for _, one in happened(told, [here], opened=False)] == ["NO_SOCKET", "NETFILTER_DROP"]


def test_drops_are_turned_as_the_conversation_is() -> None:
    def drop(tracking: str, a: tuple[str, int], b: tuple[str, int]) -> tuple[str, dict[str, Any]]:
        ends = {"Network": {"A": a[0], "B": b[0]}, "Transport": {"A": a[1], "B": b[1]}}
        return "r", {"What": "Drop", "Reason": "X", "TrackingID": tracking, "AB": 7, "BA": 1, **ends}

    carriers = {"outer": Ends(End("192.0.2.9", 0), End("192.0.2.1", 0))}
    told = [
        drop("t", CLIENT, SERVER),
        drop("t", SERVER, CLIENT),
        drop("outer", ("192.0.2.1", 0), ("192.0.2.9", 4789)),
        drop("outer", ("192.0.2.9", 0), ("192.0.2.1", 4789)),
        drop("another", CLIENT, SERVER),
    ]
    assert [(one.packets, one.outer) for one in causes_of(told, {"t": ENDS}, carriers)] == [
        ((7, 1), False), ((1, 7), False), ((1, 7), True), ((7, 1), True),
    ]  # fmt: skip


def test_copies_are_left_out() -> None:
    """A bridge gave the first packet to a neighbour too; a tunnel to another host, which gave it to all its ports."""
    there = Tunnel("VXLAN", 10, "192.0.2.1", "192.0.2.2", Ways(64, 64), "one")
    aside = Tunnel("VXLAN", 10, "192.0.2.1", "192.0.2.3", Ways(64, 64), "two")
    path = [
        seen("h1", "eth0", "egress", 5, "client"),
        seen("h1", "client", "ingress", 5),
        seen("h1", "neighbour", "egress", 1),
        seen("h1", "eth0", "ingress", 1, "neighbour"),
        seen("h1", "uplink", "egress", 5, tunnel=there),
        seen("h1", "uplink", "egress", 1, tunnel=aside),
        seen("h3", "uplink", "ingress", 1, tunnel=aside),
        seen("h3", "port", "egress", 1),
        seen("h3", "eth0", "ingress", 1, "bystander"),
        seen("h2", "uplink", "ingress", 5, tunnel=there),
        seen("h2", "port", "egress", 5),
        seen("h2", "eth0", "ingress", 5, "web"),
    ]
    peers = {"h1/neighbour/eth0": "h1//neighbour", "h3/bystander/eth0": "h3//port", "h2/web/eth0": "h2//port"}

    def on_the_way(points: list[Sighting]) -> list[str]:
        kept = without_copies(
            points,
            FORTH,
            lambda one: one.namespace == "web",
            lambda one: one.host == "h2",
            lambda node, address: node.startswith({"192.0.2.2": "h2/", "192.0.2.3": "h3/"}[address]),
            lambda node: peers.get(node, ""),
        )
        return [one.node for one in kept]

    right = [one.node for one in (path[0], path[1], path[4], path[9], path[10], path[11])]
    assert on_the_way(path) == right
    assert on_the_way(path[:-2]) == right[:-2]  # lost on the second host: that is where it was expected

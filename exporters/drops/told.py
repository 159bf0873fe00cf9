"""What happened to conversations, as people and hubs see it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import drops
from exporters.drops.places import Places
from exporters.drops.reasons import Reasons
from exporters.flows.ends import tracking_of_ends
from exporters.flows.records import ICMP, ICMP6, ICMP_TYPES
from exporters.sockets.shown import PROTOCOLS, address_text

KINDS = {
    drops.PACKET: "Drop",
    drops.RETRANSMIT: "Retransmit",
    drops.SYN_AGAIN: "SYNTimeout",
    drops.SYN_ACK_AGAIN: "SYNACKTimeout",
    drops.RESET_SENT: "ResetSent",
    drops.RESET_RECEIVED: "ResetReceived",
}
"""``What`` happened, by the program's number."""

_MS = 1_000_000
_ID = "S16"  # equal up to zeros at the end, which all have as many of
_TRACKING = re.compile("[0-9a-f]{32}")


def told(
    rows: NDArray[Any], reasons: Reasons, places: Places, offset: int, wanted: Collection[str] | None = None
) -> Iterator[dict[str, Any]]:
    """One object for each row.

    Args:
        rows: of :data:`exporters.drops.conversations.ROW`.
        reasons: the kernel's.
        places: names of now. A namespace or device that has none any more, as where a container has ended, is left out of the
            object.
        offset: ns from the clock of ``last`` to the epoch.
        wanted: tracking IDs, of conversations; None: all.

    Yields:
        ``{"What": "Drop", "Reason": …, "TrackingID": …, "Network": {"Protocol", "A", "B", "IPProtocol"}, "Transport":
        {"Protocol", "A", "B"}, "Namespace": …, "Interface": …, "AB": packets, "BA": packets, "Last": ms}``; A is the
        conversation's lower end. ICMP has ``"ICMP": {"Type", "ID"}``, a tunnel's packet ``Network.ID``, its VNI.
    """
    tracking = tracking_of_ends(rows["key"]["ends"])
    if wanted is not None:
        known = np.array([bytes.fromhex(one) for one in wanted if _TRACKING.fullmatch(one)], _ID)
        there = np.isin(np.ascontiguousarray(tracking).view(_ID)[:, 0], known)
        rows, tracking = rows[there], tracking[there]
    for row, identity in zip(rows, tracking, strict=True):
        key, ends = row["key"], row["key"]["ends"]
        family, proto, kind = int(ends["family"]), int(ends["proto"]), int(key["kind"])
        first, second = (address_text(family, ends["addr"][side].tobytes()) for side in (0, 1))
        told: dict[str, Any] = {
            "What": KINDS[kind],
            "TrackingID": identity.tobytes().hex(),
            "Network": {"Protocol": f"IPV{family}", "A": first, "B": second, "IPProtocol": proto},
            "AB": int(row["packets"][0]),
            "BA": int(row["packets"][1]),
            "Last": (int(row["last"]) + offset) // _MS,
        }
        if kind == drops.PACKET:
            told["Reason"] = reasons.drop(int(key["reason"]))
        elif kind == drops.RESET_SENT and (reason := reasons.reset(int(key["reason"]))):
            told["Reason"] = reason
        if proto in PROTOCOLS:
            told["Transport"] = {"Protocol": PROTOCOLS[proto], "A": int(ends["port"][0]), "B": int(ends["port"][1])}
        identifier = int(ends["id"])
        if proto in (ICMP, ICMP6):
            told["ICMP"] = {"Type": ICMP_TYPES.get((proto, int(ends["port"][0])), "UNKNOWN"), "ID": identifier}
        elif identifier:
            told["Network"]["ID"] = identifier
        netns, device = places.namespaces.get(int(key["netns"])), places.devices.get((int(key["netns"]), int(row["ifindex"])))
        if netns is not None:
            told["Namespace"] = netns
        if device is not None:
            told["Interface"] = device
        yield told

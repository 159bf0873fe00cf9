"""A conversation by its two ends: what flows, drops and address translations of one conversation have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.flows.identify import tracking_of

_UDP = 17

ENDS = np.dtype(
    [
        ("addr", "u1", (2, 16)),
        ("port", ">u2", 2),
        ("id", "u4"),
        ("family", "u1"),
        ("proto", "u1"),
        ("way", "u1"),
    ]
)
"""A conversation, its endpoints ordered as a flow's."""


def ends_of_flows(keys: NDArray[Any], family: NDArray[np.uint8]) -> NDArray[Any]:
    """The conversations (:data:`ENDS`) of flows' keys (:data:`layout.KEY6`), wherever those were captured.

    Flows of a tunnel's packets are found by what they carry, not by the tunnel's own endpoints.
    """
    found = np.zeros(len(keys), ENDS)
    for name in ("addr", "port", "id"):
        found[name] = keys[name]
    found["family"] = np.where(family == 4, 4, 6)
    found["proto"] = (keys["tags"] >> np.uint64(8)) & np.uint64(0xFF)
    found["way"] = (keys["tags"] & layout.KIND_MASK) == layout.KIND_ONE_WAY
    return found


def seen(flows: NDArray[Any]) -> NDArray[np.uint64]:
    """When the first and the last packet of flows (:data:`layout.FLOW`) were seen, by the kernel's clock, ns: [n, 2]."""
    return np.stack([flows["first"], flows["last"]], axis=1)


def tracking_of_ends(ends: NDArray[Any]) -> NDArray[np.uint8]:
    """Tracking IDs of conversations (:data:`ENDS`), of UDP tunnels where the first port is 0 and the id a VNI: uint8[n, 16]."""
    keys = np.zeros(len(ends), layout.KEY6)
    for name in ("addr", "port", "id"):
        keys[name] = ends[name]
    tunnel = (ends["proto"] == _UDP) & (ends["port"][:, 0] == 0)
    kinds = [layout.KIND_ONE_WAY, layout.KIND_VXLAN]
    kind = np.select([ends["way"] > 0, tunnel], kinds, layout.KIND_PLAIN).astype(np.uint64)
    keys["tags"] = ends["proto"].astype(np.uint64) << np.uint64(8) | kind
    return tracking_of(keys, ends["family"])

"""What the kernel counts of a link, by Skydive's names."""

from __future__ import annotations

LINK_COUNTERS = (
    "RxPackets",
    "TxPackets",
    "RxBytes",
    "TxBytes",
    "RxErrors",
    "TxErrors",
    "RxDropped",
    "TxDropped",
    "Multicast",
    "Collisions",
    "RxLengthErrors",
    "RxOverErrors",
    "RxCrcErrors",
    "RxFrameErrors",
    "RxFifoErrors",
    "RxMissedErrors",
    "TxAbortedErrors",
    "TxCarrierErrors",
    "TxFifoErrors",
    "TxHeartbeatErrors",
    "TxWindowErrors",
    "RxCompressed",
    "TxCompressed",
)
"""The first fields of struct rtnl_link_stats64, in their order."""

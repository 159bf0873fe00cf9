"""Counters of interfaces, decoded from RTM_NEWSTATS, as Skydive's ``Metric``.

Pure: bytes to values. Sources: linux/if_link.h (struct rtnl_link_stats64, struct if_stats_msg).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from skytrail.kernel.linkcounters import LINK_COUNTERS
from skytrail.kernel.netlink import attributes
from topology.probes.netlink.fields import unpack

RTM_NEWSTATS = 92
RTM_GETSTATS = 94

_HEADER = struct.Struct("=BxxxII")  # struct if_stats_msg: family, ifindex, filter_mask
_IFLA_STATS_LINK_64 = 1
_COUNTERS = struct.Struct(f"={len(LINK_COUNTERS)}Q")


def statistics_dump_request() -> bytes:
    """The body of RTM_GETSTATS for the counters of all links (of the socket's own namespace)."""
    return _HEADER.pack(0, 0, 1 << (_IFLA_STATS_LINK_64 - 1))


def decode_statistics(payload: bytes) -> tuple[int, dict[str, int]]:
    """Decode the payload of RTM_NEWSTATS: ifindex, and all counters by Skydive's names.

    Raises:
        NetlinkDecodeError: malformed.
    """
    _, ifindex, _ = unpack(_HEADER, payload, "statistics message")
    span = attributes(payload, _HEADER.size, len(payload), {_IFLA_STATS_LINK_64}).get(_IFLA_STATS_LINK_64)
    if span is None:
        return ifindex, {}
    return ifindex, dict(zip(LINK_COUNTERS, unpack(_COUNTERS, payload[span[0] : span[1]], "counters"), strict=True))


def metrics(now: Mapping[str, int], before: Mapping[str, int] | None, at: int, began: int) -> dict[str, Any]:
    """``Metric`` and ``LastUpdateMetric`` as Skydive shows them: counters that are 0 left out, times in ms.

    Args:
        now: counters.
        before: those of the reading before; None: there was none.
        at: when they were read, ms since the epoch.
        began: when those before were.
    """
    shown: dict[str, Any] = {"Metric": {**_nonzero(now), "Last": at}}
    if before is not None:
        grown = _nonzero({name: max(0, value - before.get(name, 0)) for name, value in now.items()})
        if grown:  # Skydive passes over an interval without traffic
            shown["LastUpdateMetric"] = {**grown, "Start": began, "Last": at}
    return shown


def _nonzero(counters: Mapping[str, int]) -> dict[str, int]:
    return {name: value for name, value in counters.items() if value}

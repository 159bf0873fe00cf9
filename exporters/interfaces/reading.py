"""What one namespace tells, as it came: between who reads it (``source``) and who decodes it (``tables``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from skytrail.kernel.columns import rows
from skytrail.kernel.netlink import Answer

FILES = ("snmp", "netstat", "snmp6", "sockstat", "sockstat6")
"""What /proc/net tells and nothing else does; those of IPv6 are missing where that is."""

LINK_HEADER = np.dtype(
    [("family", "u1"), ("pad", "u1"), ("type", "u2"), ("ifindex", "i4"), ("flags", "u4"), ("change", "u4")]
)  # struct ifinfomsg


@dataclass(frozen=True, slots=True)
class Reading:
    """What one namespace tells at one moment.

    Attributes:
        links: RTM_NEWLINK, without statistics.
        statistics: RTM_NEWSTATS with IFLA_STATS_LINK_64.
        qdiscs: RTM_NEWQDISC.
        neighbours: RTM_NEWNEIGH.
        speeds: ETHTOOL_MSG_LINKMODES_GET_REPLY.
        files: name of :data:`FILES` → content; empty where there is none.
        drivers: ifindex → statistic → value.
    """

    links: Answer = field(default_factory=Answer)
    statistics: Answer = field(default_factory=Answer)
    qdiscs: Answer = field(default_factory=Answer)
    neighbours: Answer = field(default_factory=Answer)
    speeds: Answer = field(default_factory=Answer)
    files: Mapping[str, bytes] = field(default_factory=dict)
    drivers: Mapping[int, Mapping[str, int]] = field(default_factory=dict)


def ifindexes(links: Answer) -> list[int]:
    """The interfaces that an answer to RTM_GETLINK is about."""
    found: list[int] = rows([links])[0].headers(LINK_HEADER)["ifindex"].tolist()
    return found

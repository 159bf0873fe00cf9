"""From what namespaces told to families: interfaces, qdiscs, neighbours. Pure: all namespaces at once, column by column.

Sources: linux/if_link.h, linux/rtnetlink.h, linux/gen_stats.h, linux/neighbour.h, linux/ethtool_netlink.h; RFC 2863.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporters.interfaces import metrics
from exporters.interfaces.reading import LINK_HEADER, Reading
from skytrail.kernel.columns import Integers, rows
from skytrail.kernel.linkcounters import LINK_COUNTERS
from skytrail.kernel.linkmessages import ARPHRD_LOOPBACK, IFF_UP
from skytrail.kernel.netlink import Answer
from skytrail.metrics import Family, Histogram, Metric

Labels = tuple[str, ...]
Sample = tuple[Labels, float | Histogram]

_IFLA_ADDRESS = 1
_IFLA_BROADCAST = 2
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_MASTER = 10
_IFLA_TXQLEN = 13
_IFLA_OPERSTATE = 16
_IFLA_LINKMODE = 17
_IFLA_LINKINFO = 18
_IFLA_IFALIAS = 20
_IFLA_GROUP = 27
_IFLA_CARRIER = 33
_IFLA_CARRIER_UP_COUNT = 47
_IFLA_CARRIER_DOWN_COUNT = 48
_IFLA_INFO_KIND = 1
_LINK_ATTRIBUTES = (
    _IFLA_ADDRESS,
    _IFLA_BROADCAST,
    _IFLA_IFNAME,
    _IFLA_MTU,
    _IFLA_LINK,
    _IFLA_MASTER,
    _IFLA_TXQLEN,
    _IFLA_OPERSTATE,
    _IFLA_LINKMODE,
    _IFLA_LINKINFO,
    _IFLA_IFALIAS,
    _IFLA_GROUP,
    _IFLA_CARRIER,
    _IFLA_CARRIER_UP_COUNT,
    _IFLA_CARRIER_DOWN_COUNT,
)

_OPERSTATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")  # IF_OPER_*
_OPER_UP = 6
_DUPLEX = {0: "half", 1: "full"}
_SPEED_UNKNOWN = (0, 0xFFFF, 0xFFFFFFFF)  # as ethtool(8) takes them; SPEED_UNKNOWN is the last
_BYTES_OF_MEGABIT = 125_000

_STATISTICS_HEADER = np.dtype([("family", "u1"), ("pad", "V3"), ("ifindex", "i4"), ("mask", "u4")])  # struct if_stats_msg
_IFLA_STATS_LINK_64 = 1
_RECEIVE, _TRANSMIT = "receive", "transmit"
_COUNTERS: tuple[tuple[Metric, int, str], ...] = (
    (metrics.BYTES, 2, _RECEIVE),
    (metrics.BYTES, 3, _TRANSMIT),
    (metrics.PACKETS, 0, _RECEIVE),
    (metrics.PACKETS, 1, _TRANSMIT),
    (metrics.ERRORS, 4, _RECEIVE),
    (metrics.ERRORS, 5, _TRANSMIT),
    (metrics.DROPS, 6, _RECEIVE),
    (metrics.DROPS, 7, _TRANSMIT),
    (metrics.MULTICAST, 8, ""),
)
"""Metric, number of the field in struct rtnl_link_stats64, direction."""
_REASONS: tuple[tuple[int, str, str], ...] = (
    (10, _RECEIVE, "length"),
    (11, _RECEIVE, "overrun"),
    (12, _RECEIVE, "crc"),
    (13, _RECEIVE, "frame"),
    (14, _RECEIVE, "fifo"),
    (15, _RECEIVE, "missed"),
    (23, _RECEIVE, "no_handler"),
    (24, _RECEIVE, "other_host"),
    (9, _TRANSMIT, "collision"),
    (16, _TRANSMIT, "aborted"),
    (17, _TRANSMIT, "carrier"),
    (18, _TRANSMIT, "fifo"),
    (19, _TRANSMIT, "heartbeat"),
    (20, _TRANSMIT, "window"),
)
_COMPRESSED = ((21, _RECEIVE), (22, _TRANSMIT))
_FIELDS = 25

_QDISC_HEADER = np.dtype(
    [("family", "u1"), ("pad", "V3"), ("ifindex", "i4"), ("handle", "u4"), ("parent", "u4"), ("info", "u4")]
)  # struct tcmsg
_TCA_KIND = 1
_TCA_STATS2 = 7
_TCA_STATS_BASIC = 1
_TCA_STATS_QUEUE = 3
_TCA_STATS_PKT64 = 8
_TOPMOST = (0xFFFFFFFF, 0xFFFFFFF1)  # parents TC_H_ROOT, TC_H_INGRESS
_NO_QUEUE = "noqueue"

_NEIGHBOUR_HEADER = np.dtype(
    [("family", "u1"), ("pad", "V3"), ("ifindex", "i4"), ("state", "u2"), ("flags", "u1"), ("type", "u1")]
)  # struct ndmsg
_NUD_NOARP = 0x40
_STATES = {
    0x00: "none",
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x80: "permanent",
}
_FAMILIES = {2: "ipv4", 10: "ipv6"}

_GENERIC_HEADER = 4  # bytes of struct genlmsghdr
_LINKMODES_HEADER = 1
_LINKMODES_SPEED = 5
_LINKMODES_DUPLEX = 6
_HEADER_DEV_INDEX = 1


def families(readings: Mapping[str, Reading], most: int) -> list[Family]:
    """All that netlink and drivers told.

    Args:
        readings: label of a namespace → what it told.
        most: interfaces to tell of; more are counted and left out.

    Raises:
        NetlinkDecodeError: an answer is malformed.
    """
    told = list(readings.values())
    devices = Devices(list(readings), told, most)
    return [
        *devices.families(speeds(devices, told)),
        *counter_families(devices, told),
        *qdisc_families(devices, told),
        neighbour_family(devices, told),
        driver_family(devices, told),
    ]


class Devices:
    """The interfaces of all namespaces, in rows.

    Args:
        netns: label of each namespace.
        readings: what each of them told.
        most: rows there can be; more are counted and left out.

    Attributes:
        labels: device, netns, kind of each row.
        left_out: interfaces that found no room.

    Raises:
        NetlinkDecodeError: an answer is malformed.
    """

    def __init__(self, netns: Sequence[str], readings: Sequence[Reading], most: int) -> None:
        messages, part = rows(reading.links for reading in readings)
        header = messages.headers(LINK_HEADER)
        found = messages.after(LINK_HEADER.itemsize).attributes(_LINK_ATTRIBUTES)
        names = found[_IFLA_IFNAME].texts()
        kinds = found[_IFLA_LINKINFO].attributes((_IFLA_INFO_KIND,))[_IFLA_INFO_KIND].texts()
        last = {(space, name): row for row, (space, name) in enumerate(zip(part.tolist(), names, strict=True)) if name}
        chosen = [row for row in last.values() if not header["family"][row]]  # not a bridge's port (AF_BRIDGE)
        self.left_out = max(0, len(chosen) - most)
        keep = np.array(chosen[:most], np.int64)
        self._part = part[keep]
        self._header = header[keep]
        self._found = {kind: spans.at(keep) for kind, spans in found.items()}
        self.labels: list[Labels] = [
            (names[row], netns[space], kinds[row] or ("loopback" if arphrd == ARPHRD_LOOPBACK else "device"))
            for row, space, arphrd in zip(keep.tolist(), self._part.tolist(), self._header["type"].tolist(), strict=True)
        ]
        self.virtual = np.array([label[2] != "device" for label in self.labels], np.bool_)
        keys = _key(self._part, self._header["ifindex"])
        self._order = np.argsort(keys)
        self._sorted = keys[self._order]

    def rows_of(self, part: Integers, ifindex: NDArray[Any]) -> Integers:
        """The row of each interface by its namespace's number and ifindex; -1 where there is none."""
        if not len(self._sorted):
            return np.full(len(part), -1, np.int64)
        wanted = _key(part, ifindex)
        at = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return np.where(self._sorted[at] == wanted, self._order[at], -1)

    def families(self, speeds: Speeds) -> Iterator[Family]:
        """What a link is and is set to."""
        found, flags = self._found, self._header["flags"]
        operstate = found[_IFLA_OPERSTATE].numbers("u1")
        mine = self.labels
        for metric, values in (
            (metrics.UP, (operstate == _OPER_UP).astype(np.int64)),
            (metrics.ADMIN_UP, (flags & IFF_UP).astype(np.int64)),
            (metrics.CARRIER, found[_IFLA_CARRIER].numbers("u1")),
            (metrics.FLAGS, flags),
            (metrics.MTU, found[_IFLA_MTU].numbers("u4")),
            (metrics.QUEUE_LENGTH, found[_IFLA_TXQLEN].numbers("u4")),
        ):
            yield Family(metric, _samples(mine, values))
        changes: list[Sample] = []
        for kind, to in ((_IFLA_CARRIER_UP_COUNT, "up"), (_IFLA_CARRIER_DOWN_COUNT, "down")):
            changes += _samples([(*label, to) for label in mine], found[kind].numbers("u4"))
        yield Family(metrics.CARRIER_CHANGES, changes)
        yield Family(metrics.SPEED, [(mine[row], speed * _BYTES_OF_MEGABIT) for row, speed in speeds.megabits.items()])
        yield Family(metrics.INFO, [((*label, *more), 1.0) for label, more in zip(mine, self._more(speeds), strict=True)])
        yield Family(metrics.LEFT_OUT, [((), self.left_out)])

    def _more(self, speeds: Speeds) -> Iterator[Labels]:
        """The further labels of the info metric."""
        found, header = self._found, self._header
        masters = self.rows_of(self._part, found[_IFLA_MASTER].numbers("i4", absent=-1)).tolist()
        operstates = found[_IFLA_OPERSTATE].numbers("u1").tolist()
        return zip(
            map(str, header["ifindex"].tolist()),
            [value.hex(":") for value in found[_IFLA_ADDRESS].octets()],
            [value.hex(":") for value in found[_IFLA_BROADCAST].octets()],
            [_OPERSTATES[state] if state < len(_OPERSTATES) else str(state) for state in operstates],
            [speeds.duplexes.get(row, "") for row in range(len(self.labels))],
            map(str, header["type"].tolist()),
            [str(link or "") for link in found[_IFLA_LINK].numbers("i4").tolist()],
            ["" if row < 0 else self.labels[row][0] for row in masters],
            map(str, found[_IFLA_GROUP].numbers("u4").tolist()),
            map(str, found[_IFLA_LINKMODE].numbers("u1").tolist()),
            found[_IFLA_IFALIAS].texts(),
            strict=True,
        )


class Speeds(NamedTuple):
    """What drivers know of their links: row of the interface → Mbit/s, and duplex."""

    megabits: Mapping[int, int]
    duplexes: Mapping[int, str]


def speeds(devices: Devices, readings: Sequence[Reading]) -> Speeds:
    """Decode the answers to ETHTOOL_MSG_LINKMODES_GET. Raises NetlinkDecodeError: malformed."""
    messages, part = rows(reading.speeds for reading in readings)
    found = messages.after(_GENERIC_HEADER).attributes((_LINKMODES_HEADER, _LINKMODES_SPEED, _LINKMODES_DUPLEX))
    ifindex = found[_LINKMODES_HEADER].attributes((_HEADER_DEV_INDEX,))[_HEADER_DEV_INDEX].numbers("i4")
    row = devices.rows_of(part, ifindex)
    megabits = found[_LINKMODES_SPEED].numbers("u4")
    known = (row >= 0) & ~np.isin(megabits, _SPEED_UNKNOWN)
    duplexes = zip(row.tolist(), found[_LINKMODES_DUPLEX].numbers("u1", absent=0xFF).tolist(), strict=True)
    return Speeds(
        dict(zip(row[known].tolist(), megabits[known].tolist(), strict=True)),
        {at: _DUPLEX[duplex] for at, duplex in duplexes if at >= 0 and duplex in _DUPLEX},
    )


def counter_families(devices: Devices, readings: Sequence[Reading]) -> Iterator[Family]:
    """What interfaces count. Raises NetlinkDecodeError: malformed."""
    messages, part = rows(reading.statistics for reading in readings)
    row = devices.rows_of(part, messages.headers(_STATISTICS_HEADER)["ifindex"])
    found = messages.after(_STATISTICS_HEADER.itemsize).attributes((_IFLA_STATS_LINK_64,))[_IFLA_STATS_LINK_64]
    known = (row >= 0) & found.present
    row, found = row[known], found.at(known)
    labels = [devices.labels[at] for at in row.tolist()]
    directed: dict[str, list[Labels]] = {way: [(*label, way) for label in labels] for way in (_RECEIVE, _TRANSMIT)}
    directed[""] = labels
    columns = [found.numbers("u8", 8 * at) for at in range(_FIELDS)]
    samples: dict[Metric, list[Sample]] = {}
    for metric, at, direction in _COUNTERS:
        samples.setdefault(metric, []).extend(_samples(directed[direction], columns[at]))
    all_told = ~devices.virtual[row]
    samples[metrics.REASONS] = [
        ((*labels[at], direction, reason), value)
        for column, direction, reason in _REASONS
        for at, value in _where(columns[column], all_told | (columns[column] > 0))
    ]
    samples[metrics.COMPRESSED] = [
        (directed[direction][at], value)
        for column, direction in _COMPRESSED
        for at, value in _where(columns[column], columns[column] > 0)
    ]
    return (Family(metric, found) for metric, found in samples.items())


def qdisc_families(devices: Devices, readings: Sequence[Reading]) -> Iterator[Family]:
    """What the root's and the ingress qdisc count. Raises NetlinkDecodeError: malformed."""
    messages, part = rows(reading.qdiscs for reading in readings)
    header = messages.headers(_QDISC_HEADER)
    found = messages.after(_QDISC_HEADER.itemsize).attributes((_TCA_KIND, _TCA_STATS2))
    row = devices.rows_of(part, header["ifindex"])
    kinds = found[_TCA_KIND].texts()
    queues = np.array([kind != _NO_QUEUE for kind in kinds], np.bool_)
    known = (row >= 0) & np.isin(header["parent"], _TOPMOST) & found[_TCA_STATS2].present & queues
    at = np.flatnonzero(known)
    labels = [(*devices.labels[device], kinds[here]) for device, here in zip(row[at].tolist(), at.tolist(), strict=True)]
    counted = found[_TCA_STATS2].at(at).attributes((_TCA_STATS_BASIC, _TCA_STATS_QUEUE, _TCA_STATS_PKT64))
    basic, queue, wide = counted[_TCA_STATS_BASIC], counted[_TCA_STATS_QUEUE], counted[_TCA_STATS_PKT64]
    for metric, values in (
        (metrics.QDISC_BYTES, basic.numbers("u8")),
        (metrics.QDISC_PACKETS, np.where(wide.present, wide.numbers("u8"), basic.numbers("u4", 8).astype(np.uint64))),
        (metrics.QDISC_LENGTH, queue.numbers("u4")),
        (metrics.QDISC_BACKLOG, queue.numbers("u4", 4)),
        (metrics.QDISC_DROPS, queue.numbers("u4", 8)),
        (metrics.QDISC_REQUEUES, queue.numbers("u4", 12)),
        (metrics.QDISC_OVERLIMITS, queue.numbers("u4", 16)),
    ):
        yield Family(metric, _samples(labels, values))


def counters(answer: Answer) -> tuple[Integers, NDArray[np.uint64]]:
    """What RTM_NEWSTATS say: ifindexes, and of each the numbers of ``LINK_COUNTERS``. Raises NetlinkDecodeError: malformed."""
    messages, _ = rows([answer])
    found = messages.after(_STATISTICS_HEADER.itemsize).attributes((_IFLA_STATS_LINK_64,))[_IFLA_STATS_LINK_64]
    values = [found.numbers("u8", 8 * at) for at in range(len(LINK_COUNTERS))]
    return messages.headers(_STATISTICS_HEADER)["ifindex"].astype(np.int64), np.stack(values, axis=1)


def neighbour_family(devices: Devices, readings: Sequence[Reading]) -> Family:
    """How many neighbours there are by interface, family and state. Raises NetlinkDecodeError: a message is cut."""
    messages, part = rows(reading.neighbours for reading in readings)
    header = messages.headers(_NEIGHBOUR_HEADER)
    row = devices.rows_of(part, header["ifindex"])
    known = (row >= 0) & (header["state"] & _NUD_NOARP == 0) & np.isin(header["family"], list(_FAMILIES))
    keys = row[known] << 32 | header["family"][known].astype(np.int64) << 16 | header["state"][known].astype(np.int64)
    samples: list[Sample] = []
    for key, count in zip(*(column.tolist() for column in np.unique(keys, return_counts=True)), strict=True):
        state = _STATES.get(key & 0xFFFF)
        if state is not None:
            samples.append(((*devices.labels[key >> 32], _FAMILIES[key >> 16 & 0xFF], state), count))
    return Family(metrics.NEIGHBOURS, samples)


def driver_family(devices: Devices, readings: Sequence[Reading]) -> Family:
    """Drivers' own statistics."""
    asked = [(part, ifindex) for part, reading in enumerate(readings) for ifindex in reading.drivers]
    places = np.array(asked, np.int64).reshape(-1, 2)
    row = devices.rows_of(places[:, 0], places[:, 1]).tolist()
    return Family(
        metrics.DRIVER,
        [
            ((*devices.labels[at], name), value)
            for at, (part, ifindex) in zip(row, asked, strict=True)
            if at >= 0
            for name, value in readings[part].drivers[ifindex].items()
        ],
    )


def _key(part: Integers, ifindex: NDArray[Any]) -> Integers:
    return np.asarray(part << 32 | ifindex.astype(np.int64) & 0xFFFFFFFF, np.int64)


def _samples(labels: Sequence[Labels], values: NDArray[Any]) -> list[Sample]:
    return list(zip(labels, values.tolist(), strict=True))


def _where(values: NDArray[Any], mask: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    at = np.flatnonzero(mask)
    return zip(at.tolist(), values[at].tolist(), strict=True)

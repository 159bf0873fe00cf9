"""The metrics of the address book, as data, and where they are read. ``docs/metrics.md`` is generated from this."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from skytrail.metrics import Family, Kind, Metric

if TYPE_CHECKING:
    from skytrail.addresses.book import Book
    from skytrail.wire.bookreader import BookReader
    from skytrail.wire.bookstreams import BookStreams
    from topology.addresses.follow import AddressFollower

ENTRIES = Metric(
    "skytrail_addresses_entries", "skytrail.addresses.entries", Kind.GAUGE, "{entry}",
    "Entries of this hub's address book: an address, where it is, and who has it.",
)  # fmt: skip
SECONDS = Metric(
    "skytrail_addresses_seconds_total", "skytrail.addresses.time", Kind.COUNTER, "s", "Time that following the graph took.",
)  # fmt: skip
SENT = Metric(
    "skytrail_addresses_sent_bytes_total", "skytrail.addresses.sent", Kind.COUNTER, "By",
    "Bytes of the address book that were sent to agents.",
)  # fmt: skip
KNOWN = Metric(
    "skytrail_addresses_known", "skytrail.addresses.known", Kind.GAUGE, "{address}",
    "Addresses that this agent knows somebody of, by its hub's address book.",
)  # fmt: skip
RECEIVED = Metric(
    "skytrail_addresses_received_bytes_total", "skytrail.addresses.received", Kind.COUNTER, "By",
    "Bytes of the address book that this agent got.",
)  # fmt: skip

DECLARED = (ENTRIES, SECONDS, SENT, KNOWN, RECEIVED)


def hub_source(follower: AddressFollower, streams: BookStreams | None) -> Callable[[], Iterable[Family]]:
    """What gives the families of a hub, read at each call."""
    began = time.time_ns()

    def families() -> Iterable[Family]:
        yield Family(ENTRIES, [((), float(len(follower)))])
        yield Family(SECONDS, [((), follower.seconds)], began)
        if streams is not None:
            yield Family(SENT, [((), float(streams.bytes))], began)

    return families


def agent_source(book: Book, reader: BookReader | None) -> Callable[[], Iterable[Family]]:
    """What gives the families of an agent, read at each call."""
    began = time.time_ns()

    def families() -> Iterable[Family]:
        yield Family(KNOWN, [((), float(len(book)))])
        if reader is not None:
            yield Family(RECEIVED, [((), float(reader.bytes))], began)

    return families

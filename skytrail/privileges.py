"""Which capabilities an agent needs, for what, and for how long: the table that the code keeps to and the docs are made of."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from skytrail.errors import RunError
from skytrail.kernel.capabilities import Starter


class Until(Enum):
    """How long a capability is kept, in words."""

    ATTACHED = "until all has started"
    OTHERS = "until all has started; for good where other namespaces are followed (flow.netns: all, a hub)"
    GOOD = "for good"


class Need(NamedTuple):
    """A capability, as capabilities(7) has it without CAP_.

    Attributes:
        name: of it.
        until: how long it is kept.
        use: what it is needed for.
        without: what there is no more without it.
    """

    name: str
    until: Until
    use: str
    without: str


NEEDS = (
    Need("bpf", Until.GOOD, "to load programs and maps: each capture point has an entry program of its own", "flows"),
    Need("net_admin", Until.GOOD, "to attach to interfaces; conntrack; what ethtool and qdiscs tell", "flows, NAT"),
    Need("net_raw", Until.GOOD, "raw sockets, where there is neither TCX nor clsact", "flows of such interfaces"),
    Need("sys_ptrace", Until.GOOD, "to find other users' namespaces and the programs of their sockets",
         "namespaces without a name; names of other users' programs"),
    Need("dac_read_search", Until.GOOD, "to read what is others': /run/docker/netns, /proc/PID/fd; to name control groups",
         "docker's namespaces; containers of programs that have ended"),
    Need("net_broadcast", Until.GOOD, "to hear of all namespaces' links, and of conntrack, by one socket",
         "NAT; namespaces but the own one"),
    Need("sys_admin", Until.OTHERS, "to enter other network namespaces; to find filters of dead agents",
         "namespaces but the own one"),
    Need("perfmon", Until.ATTACHED, "to load what follows sockets, drops and new namespaces",
         "reasons of drops; short-lived sockets; namespaces without a name within 0.1 s"),
)  # fmt: skip
ALL = "all"


def needed(*, others: bool) -> frozenset[str]:
    """What is kept for good, where other namespaces are followed or not."""
    return frozenset(need.name for need in NEEDS if need.until is Until.GOOD or (others and need.until is Until.OTHERS))


def give_up(keep: Sequence[str], *, others: bool) -> Starter | None:
    """Keep what an agent needs, and no more: before the process has a second thread.

    Args:
        keep: more that is kept; with ``all`` among it nothing is given up.
        others: whether other namespaces are followed.

    Returns who has, until it is ended, what only the start needs; None: nothing was given up.

    Raises:
        RunError: the kernel refuses.
    """
    if ALL in keep:
        return None
    try:
        return Starter(needed(others=others) | set(keep), [need.name for need in NEEDS])
    except OSError as error:
        raise RunError(f"capabilities cannot be given up ({error}): set agent.keep_capabilities: [all]") from error

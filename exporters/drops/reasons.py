"""The names of the kernel's reasons, and which of them end a packet that was not lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporters.bpf import drops
from skytrail.errors import NotSupportedError

ENDS: Mapping[str, tuple[int, str]] = {
    "NOT_DROPPED_YET": (drops.NORMAL, "says that there is no reason"),
    "CONSUMED": (drops.NORMAL, "arrived where it was to go"),
    "SOCKET_FILTER": (drops.NORMAL, "a socket asked for others only, and said so by its filter"),
    "OTHERHOST": (drops.NORMAL, "is another host's: only a listener like tcpdump had asked for it"),
    "PACKET_SOCK_ERROR": (drops.NORMAL, "is a copy for a listener like tcpdump that lags: the packet itself goes on"),
    "QUEUE_PURGE": (drops.NORMAL, "the socket was closed before it was read: so ends the FIN of most connections"),
    "NO_SOCKET": (drops.NORMAL_REPLY, "answers to ping go to raw sockets as copies, and no other socket waits for them"),
}
"""Reasons that are no drops, always or for answers to an echo, and why: include/net/dropreason-core.h."""

_SUBSYSTEM_SHIFT = 16


@dataclass(frozen=True, slots=True)
class Reasons:
    """The running kernel's names, by number: they differ from version to version, and so do the numbers.

    Attributes:
        drops: of packets that died, as the kernel's own trace prints them (``NETFILTER_DROP``).
        subsystems: of those that number their reasons themselves (``MAC80211_UNUSABLE``).
        resets: of resets that were sent.

    """

    drops: Mapping[int, str]
    subsystems: Mapping[int, str]
    resets: Mapping[int, str]

    @classmethod
    def of_kernel(cls) -> Reasons:
        """Read them from the kernel's BTF. Raises NotSupportedError."""
        found = drops.kernel_enums("skb_drop_reason", "skb_drop_reason_subsys", "sk_rst_reason")
        if not found[0]:
            raise NotSupportedError("this kernel does not say why it drops packets", "use Linux 5.17 or later")
        packets = {number: name.removeprefix("SKB_").removeprefix("DROP_REASON_") for number, name in found[0].items()}
        subsystems = {number: name.removeprefix("SKB_DROP_REASON_SUBSYS_") for number, name in found[1].items()}
        return cls(packets, subsystems, {number: name.removeprefix("SK_RST_REASON_") for number, name in found[2].items()})

    def ends(self) -> dict[int, int]:
        """:data:`ENDS` by number: ``enum drop_end``."""
        return {number: ENDS[name][0] for number, name in self.drops.items() if name in ENDS}

    def drop(self, number: int) -> str:
        """The name of a reason to drop a packet; of another subsystem's: that one's name and its number there."""
        if number >> _SUBSYSTEM_SHIFT:
            owner = self.subsystems.get(number >> _SUBSYSTEM_SHIFT, f"SUBSYSTEM_{number >> _SUBSYSTEM_SHIFT}")
            return f"{owner}_{number & 0xFFFF}"
        return self.drops.get(number, f"REASON_{number}")

    def reset(self, number: int) -> str:
        """The name of a reason to send a reset; empty where the kernel does not tell."""
        return self.resets.get(number, "")

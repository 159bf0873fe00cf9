"""Sockets as people see them: Skydive's ``Sockets`` shape with our additions, and lines as ``ss -tupan`` has them. Pure.

Keys of Skydive's: ``Process`` (the executable), ``Pid``, ``Name``, ``LocalAddress``, ``LocalPort``, ``RemoteAddress``,
``RemotePort``, ``Protocol``, ``State``. New: ``Namespace``, ``UID``, ``FD``, ``Inode``, ``Cookie``, ``Cgroup``,
``ReceiveQueue``, ``SendQueue``, ``Drops``, ``Device``, and of TCP ``RTT``, ``RTTDeviation`` (ns), ``CongestionWindow``,
``MSS``, ``Retransmits``, ``SentBytes``, ``ReceivedBytes``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from exporters.sockets.processes import Process

Described = Callable[[str], Mapping[str, Mapping[str, str]]]
"""What a control group is, by its path: ``Container``, ``Pod``, ``Unit``, as far as it is known."""


def undescribed(_cgroup: str) -> Mapping[str, Mapping[str, str]]:
    """Nothing is known."""
    return {}


PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP", 136: "UDPLITE", 33: "DCCP", 262: "MPTCP"}
"""By IP protocol number; sockets of others are raw ones."""

STATES = {
    1: "ESTABLISHED", 2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT", 7: "CLOSE",
    8: "CLOSE_WAIT", 9: "LAST_ACK", 10: "LISTEN", 11: "CLOSING", 12: "NEW_SYN_RECV",
}  # fmt: skip
"""By the kernel's number (include/net/tcp_states.h); of SCTP's, which begin at 1 too, only LISTEN and CLOSE are these."""

RAW = 3  # SOCK_RAW
_TCP = 6


def protocol_of(proto: int, kind: int) -> str:
    """The name of a socket's protocol."""
    return "RAW" if kind == RAW else PROTOCOLS.get(proto, "RAW")


def address_text(family: int, raw: bytes) -> str:
    """An address of 16 bytes (IPv4: the first four) as text."""
    return socket.inet_ntop(socket.AF_INET, raw[:4]) if family == 4 else socket.inet_ntop(socket.AF_INET6, raw)


def pack_address(text: str) -> tuple[int, bytes] | None:
    """The family and the 16 bytes that are shown so; None: no address is."""
    family = 6 if ":" in text else 4
    try:
        raw = socket.inet_pton(socket.AF_INET6 if family == 6 else socket.AF_INET, text).ljust(16, b"\0")
    except (OSError, ValueError):
        return None
    return (family, raw) if address_text(family, raw) == text else None


def socket_json(
    rows: NDArray[Any],
    processes: tuple[Sequence[Process], NDArray[Any]],
    namespaces: Mapping[int, str],
    described: Described = undescribed,
) -> Iterator[dict[str, Any]]:
    """One object for each row of ``exporters.bpf.sockets.RECORD``.

    Args:
        rows: the records.
        processes: as ``Processes.of`` gives them for the rows' owners.
        namespaces: their names by cookie; one that is not there is told by its inode.
        described: what a control group is.
    """
    found, which = processes
    more = [described(process.cgroup) if process.cgroup else {} for process in found]
    for row, number in zip(rows, which.tolist(), strict=True):
        yield _socket(row, found[number], namespaces) | more[number]


def _socket(row: Any, process: Process, namespaces: Mapping[int, str]) -> dict[str, Any]:  # noqa: ANN401 - a record
    ends, tcp = row["ends"], row["tcp"]
    family, proto, netns = int(ends["family"]), int(ends["proto"]), int(ends["netns"])
    told: dict[str, Any] = {
        "Process": process.executable,
        "Pid": process.pid,
        "Name": process.name,
        "LocalAddress": address_text(family, ends["addr"][0].tobytes()),
        "LocalPort": int(ends["port"][0]),
        "RemoteAddress": address_text(family, ends["addr"][1].tobytes()),
        "RemotePort": int(ends["port"][1]),
        "Protocol": protocol_of(proto, int(row["type"])),
        "State": STATES.get(int(ends["state"]), str(int(ends["state"]))),
        "Namespace": namespaces.get(netns, f"inode:{int(ends['inode'])}"),
        "UID": int(row["owner"]["uid"]),
        "FD": int(row["fd"]),
        "Inode": int(row["inode"]),
        "Cookie": int(row["cookie"]),
        "ReceiveQueue": int(row["receive_queue"]),
        "SendQueue": int(row["send_queue"]),
    }
    if process.cgroup:
        told["Cgroup"] = process.cgroup
    if row["drops"]:
        told["Drops"] = int(row["drops"])
    if row["device"]:
        told["Device"] = int(row["device"])
    if proto == _TCP and tcp["mss"]:
        told |= {
            "RTT": int(tcp["rtt"]) * 1000,
            "RTTDeviation": int(tcp["rtt_deviation"]) * 1000,
            "CongestionWindow": int(tcp["cwnd"]),
            "MSS": int(tcp["mss"]),
            "Retransmits": int(tcp["retransmits"]),
            "SentBytes": int(tcp["sent"]),
            "ReceivedBytes": int(tcp["received"]),
        }
    return told


_SS_STATES = {
    "ESTABLISHED": "ESTAB", "SYN_SENT": "SYN-SENT", "SYN_RECV": "SYN-RECV", "FIN_WAIT1": "FIN-WAIT-1",
    "FIN_WAIT2": "FIN-WAIT-2", "TIME_WAIT": "TIME-WAIT", "CLOSE": "UNCONN", "CLOSE_WAIT": "CLOSE-WAIT",
    "LAST_ACK": "LAST-ACK", "LISTEN": "LISTEN", "CLOSING": "CLOSING", "NEW_SYN_RECV": "SYN-RECV",
}  # fmt: skip
"""As ss names them."""


def ss_state(told: Mapping[str, Any]) -> str:
    """The state of a socket's JSON as ss names it."""
    state = str(told["State"])
    return _SS_STATES.get(state, state)


def end_text(address: str, port: int) -> str:
    """An end as ``address:port``, ``*`` for a port that is any."""
    shown = f"[{address}]" if ":" in address else address
    return f"{shown}:{port or '*'}"

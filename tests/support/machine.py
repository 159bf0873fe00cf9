"""A machine behind a tap device, of which the kernel has nothing but frames: it answers ARP and pings."""

from __future__ import annotations

import os
import select
import threading
from socket import inet_aton

from support.impaired import LONGEST, open_tap
from support.netlab import Net, in_netns

_ARP, _IP = b"\x08\x06", b"\x08\x00"
_REQUEST, _REPLY = b"\0\1", b"\0\2"
_ICMP, _ECHO = 1, 8


class Machine:
    """One, until it is closed.

    Args:
        net: the test's namespaces.
        netns: of the tap device.
        tap: its name.
        mac: the machine's.
        address: the machine's, of IPv4.
    """

    def __init__(self, net: Net, netns: str, tap: str, mac: str, address: str) -> None:
        self._mac, self._address = bytes.fromhex(mac.replace(":", "")), inet_aton(address)
        self._tap = in_netns(netns, lambda: open_tap(tap))
        net.ip(f"link set {tap} up", netns=netns)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Turn it off."""
        os.write(self._stopped, b"x")
        self._thread.join()
        for fd in (self._tap, self._stop, self._stopped):
            os.close(fd)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._tap, self._stop], [], [])
            if self._stop in ready:
                return
            if (answer := self._answer(os.read(self._tap, LONGEST))) is not None:
                os.write(self._tap, answer)

    def _answer(self, frame: bytes) -> bytes | None:
        header, kind, body = frame[6:12] + self._mac, frame[12:14], frame[14:]
        if kind == _ARP and body[6:8] == _REQUEST and body[24:28] == self._address:
            return header + kind + body[:6] + _REPLY + self._mac + self._address + body[8:18]
        behind = (body[0] & 15) * 4 if kind == _IP else 0
        if kind == _IP and body[9] == _ICMP and body[16:20] == self._address and body[behind] == _ECHO:
            echo = bytes([0, 0, *_checksum(body[behind + 2 : behind + 4]), *body[behind + 4 :]])
            return header + kind + body[:12] + body[16:20] + body[12:16] + body[20:behind] + echo
        return None


def _checksum(of_request: bytes) -> bytes:
    """Of an echo reply: its first two bytes are 0x0800 less than the request's (RFC 1624)."""
    total = int.from_bytes(of_request, "big") + 0x0800
    return ((total & 0xFFFF) + (total >> 16)).to_bytes(2, "big")

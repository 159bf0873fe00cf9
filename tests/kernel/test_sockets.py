"""Sockets on Debian's kernels: a pass, both ends of a short connection, and the same pass by sock_diag."""

from __future__ import annotations

import os
import socket

import numpy as np
import pytest
from support.netlab import Net, until
from support.socketlab import MADE_UP, agree, cookie_of, of, opened_in

from exporters.bpf import sockets
from exporters.bpf.sockets import EVENT, SocketPrograms
from exporters.sockets.diag import SockDiag
from skytrail.kernel.census import Census
from skytrail.kernel.host import Roots
from skytrail.kernel.worker import NamespaceWorker

pytestmark = pytest.mark.skipif(
    os.environ.get("SKYTRAIL_KERNEL_VM") != "1", reason="runs inside the virtual machines of `make kernels`"
)


def test_short_connections_and_sockets_that_stay_are_told_of_with_their_process() -> None:
    programs = SocketPrograms()
    try:
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server = socket.create_server(("127.0.0.1", 0))
        rows = programs.read()
        mine = rows[rows["owner"]["pid"] == os.getpid()]
        assert {(int(row["ends"]["proto"]), int(row["fd"])) for row in mine} >= {(17, datagram.fileno()), (6, server.fileno())}
        with socket.create_connection(server.getsockname()) as client:
            accepted, _ = server.accept()
            client.sendall(b"x" * 1000)
            assert accepted.recv(1000, socket.MSG_WAITALL)
            accepted.close()
        events = np.zeros(0, EVENT)

        def come() -> bool:
            nonlocal events
            events = np.concatenate([events, programs.events()])
            return int((events["kind"] == sockets.CLOSED).sum()) == 2

        until(come, 60)
        kinds = sorted(events["kind"][events["ends"]["proto"] == 6].tolist())
        assert kinds == [sockets.CONNECTED, sockets.ACCEPTED, sockets.CLOSED, sockets.CLOSED]
        assert set(events["owner"]["pid"].tolist()) == {os.getpid()}
        assert programs.losses() == (0, 0)
    finally:
        programs.close()


def test_sock_diag_tells_the_same_in_short() -> None:
    net, programs, worker = Net(), SocketPrograms(), NamespaceWorker()
    census = Census(worker, Roots(), every=True)
    try:
        netns = net.netns("a", ipv6=True)
        opened = opened_in(netns)
        census.refresh(processes=True)
        diag = SockDiag(worker, census.namespaces)
        agree(programs, diag, {cookie_of(netns)}, len(opened))
        cookies = [told["cookie"] for told in of(diag.read(), {cookie_of(netns)}).values()]
        assert max(cookies) < MADE_UP  # these kernels have sock_diag for raw sockets
    finally:
        census.close()
        worker.close()
        programs.close()
        net.close()

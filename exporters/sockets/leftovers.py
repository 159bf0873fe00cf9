"""Sockets that no process has open any more, by sock_diag in each namespace: TIME_WAIT, SYN_RECV, closed but unacknowledged."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.sockets.diag import NETNS, as_records
from skytrail.errors import SkytrailError
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.sockdiag import DiagAsker
from skytrail.kernel.worker import NamespaceWorker

_log = structlog.get_logger(__name__)

# the kernel's numbers (include/net/tcp_states.h): SYN_RECV, FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING, NEW_SYN_RECV
_STATES = sum(1 << state for state in (3, 4, 5, 6, 9, 11, 12))


def leftovers(worker: NamespaceWorker, namespaces: Iterable[Namespace]) -> Iterator[NDArray[Any]]:
    """Rows of ``exporters.bpf.sockets.RECORD``, of one namespace after the other; one that is gone has none."""
    for namespace in namespaces:
        try:
            found = worker.run(namespace, _ask)
        except (OSError, SkytrailError) as error:
            _log.debug("sockets_without_process_unknown", namespace=namespace.label, error=str(error))
            continue
        netns = np.array((namespace.cookie, namespace.inode), NETNS)
        yield as_records(found[found["inode"] == 0], socket.IPPROTO_TCP, netns)


def _ask() -> NDArray[Any]:
    with DiagAsker() as asker:
        return asker.sockets(socket.IPPROTO_TCP, _STATES)

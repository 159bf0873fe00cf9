"""Sockets that no process has open any more, by sock_diag in each namespace: TIME_WAIT, SYN_RECV, closed but unacknowledged."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.bpf.sockets import RECORD
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
        yield as_records(found[found["inode"] == 0], namespace)


def _ask() -> NDArray[Any]:
    with DiagAsker() as asker:
        return asker.sockets(socket.IPPROTO_TCP, _STATES)


def as_records(found: NDArray[Any], namespace: Namespace) -> NDArray[Any]:
    """Rows of ``skytrail.kernel.sockdiag.MESSAGE`` as those of a pass."""
    rows = np.zeros(len(found), RECORD)
    ends = rows["ends"]
    ends["netns"], ends["inode"] = namespace.cookie, namespace.inode
    ends["addr"], ends["port"], ends["state"] = found["addr"], found["port"], found["state"]
    ends["family"] = np.where(found["family"] == socket.AF_INET, 4, 6)
    ends["proto"] = socket.IPPROTO_TCP
    rows["cookie"] = found["cookie"][:, 0] | (found["cookie"][:, 1].astype("u8") << np.uint64(32))
    rows["owner"]["uid"], rows["device"] = found["uid"], found["device"]
    rows["receive_queue"], rows["send_queue"] = found["receive_queue"], found["send_queue"]
    rows["type"] = socket.SOCK_STREAM
    return rows

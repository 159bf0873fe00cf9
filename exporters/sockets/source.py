"""What a collector reads sockets from, and which one is taken: the BPF programs, or sock_diag where they are not to be had."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import structlog
from numpy.typing import NDArray

from exporters.bpf.sockets import SocketPrograms
from exporters.sockets.diag import SockDiag
from skytrail.errors import SkytrailError
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.worker import NamespaceWorker

_log = structlog.get_logger(__name__)


class SocketSource(Protocol):
    """Tells of sockets. For one thread at a time."""

    def read(self) -> NDArray[Any]:
        """Every socket of every process, one row of ``exporters.bpf.sockets.RECORD`` for each descriptor. Raises OSError."""

    def events(self) -> NDArray[Any]:
        """What became of sockets since the last call, the first first: rows of ``exporters.bpf.sockets.EVENT``."""

    def losses(self) -> tuple[int, int]:
        """Events that found no room so far, and owners that could not be remembered."""

    def close(self) -> None:
        """Read no more. Twice is the same as once."""


def choose_source(
    name: Literal["auto", "iterators", "sock_diag"],
    worker: NamespaceWorker,
    namespaces: Callable[[], Iterable[Namespace]],
) -> SocketSource:
    """The BPF programs or sock_diag.

    Args:
        name: which; ``auto``: sock_diag where the programs cannot be loaded.
        worker: enters namespaces, for sock_diag.
        namespaces: those that sock_diag looks at.

    Raises:
        NotSupportedError: this host lacks what was asked for, and of ``auto`` both.
        LoadError: the kernel refused the programs, which were asked for.
        OSError: it refused something else.
    """
    if name == "sock_diag":
        return SockDiag(worker, namespaces)
    try:
        return SocketPrograms()
    except (OSError, SkytrailError) as error:
        if name == "iterators":
            raise
        source = SockDiag(worker, namespaces)
        missing = "what lives shorter than a pass, connects and accepts, how connections end, sockets that are not bound"
        _log.warning("sockets_by_sock_diag", error=str(error), missing=missing, remedy="see 'skytrail check'")
        return source

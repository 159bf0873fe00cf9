"""What a client of any container runtime does when it is interrupted."""

from __future__ import annotations

import threading

import pytest

from skytrail.runtimes.container import RuntimeApi, RuntimeAwayError


def assert_interrupt_ends_a_wait(api: RuntimeApi) -> None:
    """Who follows is told that the client is closed, and it does not start again."""
    api.start()
    failures: list[RuntimeAwayError] = []

    def follow() -> None:
        try:
            list(api.follow())
        except RuntimeAwayError as error:
            failures.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    api.interrupt()
    thread.join()
    with pytest.raises(RuntimeAwayError, match="closed"):
        api.start()
    assert len(failures) == 1

"""Findings of ``skytrail check`` about container runtimes: which are here, and whether they answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporters.bpf.features import Finding
    from skytrail.runtimes.endpoints import Endpoint
    from skytrail.settings.tree import Containers

_NAME = "container runtime"


def runtime_findings(settings: Containers) -> Iterator[Finding]:
    """Each socket that is here. One that systemd would start a service for is not connected to."""
    from exporters.bpf.features import Finding  # noqa: PLC0415 - --help needs none of it
    from skytrail.runtimes.activation import Activation  # noqa: PLC0415
    from skytrail.runtimes.endpoints import endpoints, present  # noqa: PLC0415

    activation, found = Activation(), present(endpoints(settings.docker, settings.cri))
    if not found:
        yield Finding(
            _NAME, "optional", "no socket of one is here", "none needed; else set containers.docker or containers.cri"
        )
    for endpoint in found:
        if endpoint.on_demand:
            yield Finding(_NAME, "ok", f"{endpoint.runtime} is started by who connects to {endpoint.path}", "")
        elif activation.waits(endpoint.path):
            what = f"{endpoint.runtime} does not run; systemd would start it for whoever connects to {endpoint.path}"
            yield Finding(_NAME, "note", what, "none needed, if it is not to run: it is waited for")
        else:
            yield _asked(endpoint)


def _asked(endpoint: Endpoint) -> Finding:
    from exporters.bpf.features import Finding  # noqa: PLC0415
    from skytrail.runtimes.container import NoSuchApiError, RuntimeAwayError  # noqa: PLC0415
    from skytrail.runtimes.endpoints import connect  # noqa: PLC0415

    try:
        with contextlib.closing(connect(endpoint)) as api:
            containers = api.start()
    except ImportError:
        return Finding(_NAME, "note", f"{endpoint.path} is not asked: no library", "pip install 'skytrail[otlp]'")
    except NoSuchApiError:
        remedy = "none needed, if another runtime uses it; else switch its CRI plugin on"
        return Finding(_NAME, "note", f"{endpoint.runtime} at {endpoint.path} does not speak the CRI", remedy)
    except RuntimeAwayError as error:
        return Finding(_NAME, "note", str(error), "run as root, or start it: it is waited for")
    return Finding(_NAME, "ok", f"{api.runtime} at {endpoint.path} runs {len(containers)}", "")

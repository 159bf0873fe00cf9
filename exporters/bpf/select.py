"""Chooses a loader and loads the flows program."""

from __future__ import annotations

from pathlib import Path

import structlog

from exporters.bpf.program import FlowProgram, Loader
from skytrail.errors import LoadError, NotSupportedError, SkytrailError

_log = structlog.get_logger(__name__)

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")


def choose_loader(
    name: str, *, max_flows: int = 262144, max_points: int = 1024, sampling: int = 1, replay: bool = False
) -> FlowProgram:
    """Load by libbpf or bcc.

    Args:
        name: ``libbpf``, ``bcc``, or ``auto``: libbpf; bcc where libbpf or the kernel's BTF is missing.
        max_flows: entries of each flow map.
        max_points: capture points at once, and one more.
        sampling: 1 of N packets.
        replay: for capture files.

    Raises:
        LoadError: the kernel refused the program.
        NotSupportedError: the loader asked for is not installed.

    """
    names = [name] if name != "auto" else ["libbpf", "bcc"] if KERNEL_BTF.exists() else ["bcc", "libbpf"]
    first: SkytrailError | None = None
    for number, candidate in enumerate(names, 1):
        try:
            return FlowProgram(_loader(candidate), max_flows=max_flows, max_points=max_points, sampling=sampling, replay=replay)
        except (LoadError, NotSupportedError) as error:
            if first:  # the loader that was expected to work tells what to do
                first.add_note(str(error))
                raise first from error
            if number == len(names) or (isinstance(error, LoadError) and KERNEL_BTF.exists()):
                raise
            _log.info("loader failed, trying the next", loader=candidate, error=str(error))
            first = error
    raise AssertionError(names)


def _loader(name: str) -> Loader:
    if name == "bcc":
        from exporters.bpf.bcc import BccLoader  # noqa: PLC0415 - bcc is optional

        return BccLoader()
    from exporters.bpf.libbpf import LibbpfLoader  # noqa: PLC0415 - so is libbpf

    return LibbpfLoader()

"""Findings of ``skytrail check`` about capabilities: what there is not without those that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from skytrail.kernel.capabilities import effective
from skytrail.privileges import NEEDS

if TYPE_CHECKING:
    from exporters.bpf.features import Finding


def capability_findings() -> Iterator[Finding]:
    """Each that an agent needs and this process has not. CAP_SYS_ADMIN is also CAP_BPF and CAP_PERFMON (capabilities(7))."""
    from exporters.bpf.features import Finding  # noqa: PLC0415 - --help needs none of it

    there = effective()
    if "sys_admin" in there:
        there |= {"bpf", "perfmon"}
    for need in NEEDS:
        if need.name not in there:
            name = f"CAP_{need.name.upper()}"
            yield Finding(name, "note", f"not there: without {need.without}", f"it is needed {need.use}")

"""The names of reasons, against bpftool's reading of the kernel's types."""

from __future__ import annotations

import re
import subprocess

import pytest
from support.needs import root, tool

from exporters.bpf import drops
from exporters.drops.reasons import ENDS, Reasons

pytestmark = pytest.mark.kernel


def by_bpftool(name: str) -> dict[int, str]:
    command = [tool("bpftool", "bpftool"), "btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    body = re.search(rf"^enum {name} {{\n(.*?)^}};", text, re.DOTALL | re.MULTILINE)
    assert body
    return {int(number): label for label, number in re.findall(r"(\w+) = (\d+),", body[1])}


def test_names_are_the_kernels() -> None:
    root()
    found = Reasons.of_kernel()

    assert {number: f"SKB_DROP_REASON_{name}" for number, name in found.drops.items() if number > 1} == {
        number: name for number, name in by_bpftool("skb_drop_reason").items() if number > 1
    }
    assert found.drops[1] == "CONSUMED"
    resets = by_bpftool("sk_rst_reason")
    assert {number: found.reset(number) for number in resets} == {
        number: name.removeprefix("SK_RST_REASON_") for number, name in resets.items()
    }


def test_every_end_is_a_reason_of_this_kernel() -> None:
    root()
    found = Reasons.of_kernel()

    assert {found.drops[number] for number in found.ends()} == set(ENDS)
    assert found.ends()[1] == drops.NORMAL


def test_enumeration_that_the_kernel_has_not_is_empty() -> None:
    assert drops.kernel_enums("no_such_enum") == [{}]

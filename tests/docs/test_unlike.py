"""How what is shown is held against what is said."""

from __future__ import annotations

import pytest
from support.docpages import unlike


@pytest.mark.parametrize(
    ("shown", "seen"),
    [
        ("eth0  out  6 packets  472 B  +9.42 µs", "eth0 out  7 packets 1066 B  +1 ms"),
        ("2026-11-26 09:33:09.116 for 0.999 s", "2027-01-02 10:00:00.001 for 3 s"),
        (
            "TCP 10.0.0.1:43174 → 10.0.0.3:80   curl[16669] → sh[14921]",
            "TCP 10.0.0.1:50000 → 10.0.0.3:80 curl[1] → sh[2]",
        ),
        ("tracking ID 34f69a49a9385375a6915c78f107d406", "tracking ID 05134fb9e9e2f8d48901521f7c82c7c9"),
        ("FDB entry 0a:ea:ae:93:50:cf", "FDB entry 9e:c2:34:50:dc:18"),
        ("a\n…\nz", "a\nb\nc\nz"),
        ("a … z", "a b c z"),
        ("a … z", "a z"),
        ("a\n…", "a"),
    ],
)
def test_alike(shown: str, seen: str) -> None:
    assert unlike(shown, seen) is None


@pytest.mark.parametrize(
    ("shown", "seen"),
    [
        ("eth0  out", "eth1 out"),
        ("10.10.1.1", "10.10.1.2"),
        ("10.10.1.1:80", "10.10.1.1:443"),
        ("✓ every packet arrived", "✗ 2 packets lost"),
        ("a\nz", "a\nb\nz"),
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("a\n…\nz", "a\nb"),
        ("", "an error"),
        ("vxlan10  VNI 10", "vxlan20 VNI 10"),
        ("VXLAN 10", "VXLAN 20"),
        ("0 of 1 answered", "1 of 1 answered"),
        ("[1]", "[0]"),
        ("3", "4"),
        ("MTU: 1500 → 1400", "MTU: 1500 → 1450"),
        ("packets of up to 1400 bytes pass", "packets of up to 1500 bytes pass"),
        ("2 packets  148 B  ttl 64 in 63", "2 packets  148 B  ttl 64 in 64"),
        ("2 packets  148 B", "0 packets  0 B"),
        ('dropped_total{device="eth0"} 1.0', 'dropped_total{device="eth0"} 0.0'),
    ],
)
def test_not_alike(shown: str, seen: str) -> None:
    assert unlike(shown, seen) is not None

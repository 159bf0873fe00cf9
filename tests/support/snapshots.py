"""A small graph as a snapshot has it, and values of metadata for properties to be tested with."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from topology.snapshot.elements import Element

HOST, PORT, EDGE = (f"00000000-0000-5000-8000-00000000000{n}" for n in range(3))
METADATA: dict[str, Any] = {
    "Name": "eth0 é ☃ 𝄞",
    "Type": "device",
    "MTU": 1500,
    "Big": 2**62,
    "Negative": -(2**63),
    "Ratio": 0.25,
    "Up": True,
    "IPV4": ["10.0.0.1/24", "10.0.0.2/24"],
    "Nothing": [],
    "Rules": [{"Priority": 0, "Table": 255}, {"Src": "10.0.0.0/8", "Flags": []}],
    "K8s": {"Labels": {"app.kubernetes.io/name": "x", "@type": "g:Int32", "@value": 1}, "Empty": {}},
    "Host": "a key of the metadata that is called as a field is",
    "Metadata.Host": "and one that looks like that",
}


def graph(**more: Any) -> list[Element]:
    host = Element(HOST, {"Name": "h", "Type": "host"}, "h", "agent.h", 1_700_000_000_000, 1_700_000_000_001, Revision=3)
    port = Element(
        PORT, {**METADATA, **more}, "h", "agent.h", 1_700_000_000_002, 1_700_000_000_003, ArchivedAt=1_700_000_000_009
    )
    edge = Element(EDGE, {"RelationType": "ownership", "N": 7}, "h", "agent.h", 5, 6, Parent=HOST, Child=PORT)
    return [host, port, edge]


TEXT = st.text(max_size=8)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)

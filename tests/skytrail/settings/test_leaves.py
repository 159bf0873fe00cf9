from __future__ import annotations

from collections import Counter

import pytest

from skytrail.settings.leaves import LEAVES, Leaf


def test_no_two_keys_share_a_variable() -> None:
    twice = [name for name, count in Counter(leaf.variable for leaf in LEAVES.values()).items() if count > 1]
    assert twice == []
    assert "SKYTRAIL_CONFIG" not in {leaf.variable for leaf in LEAVES.values()}


@pytest.mark.parametrize("leaf", LEAVES.values(), ids=lambda leaf: leaf.key)
def test_every_key_says_what_it_is_and_why_its_default_is_so(leaf: Leaf) -> None:
    assert leaf.description
    assert leaf.reason
    assert not leaf.description.endswith(".")


@pytest.mark.parametrize("leaf", LEAVES.values(), ids=lambda leaf: leaf.key)
def test_every_default_passes_its_own_checks_as_it_is_shown(leaf: Leaf) -> None:
    assert leaf.convert(leaf.show(leaf.default), text=False) == leaf.default


def test_list_is_read_from_text_with_commas_or_as_yaml() -> None:
    leaf = LEAVES["flow.interfaces"]
    assert leaf.parse("eth*, !veth*") == ["eth*", "!veth*"]
    assert leaf.parse("['~^e{1,2}$']") == ["~^e{1,2}$"]


def test_mapping_is_read_from_text_with_equals_signs_or_as_yaml() -> None:
    leaf = LEAVES["flow.application_ports.tcp"]
    assert leaf.convert(leaf.parse("80=WEB,443=TLS"), text=True) == {80: "WEB", 443: "TLS"}
    assert leaf.convert(leaf.parse("{80: WEB}"), text=True) == {80: "WEB"}


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("ON", True), ("1", True), ("false", False), ("0", False)])
def test_truth_is_read_from_text(text: str, value: bool) -> None:
    assert LEAVES["http.insecure"].parse(text) is value


def test_empty_text_is_none_only_where_none_is_a_value() -> None:
    assert LEAVES["otlp.endpoint"].parse("") is None
    assert LEAVES["state_dir"].parse("") == ""

"""Who selects which pods, after any changes: as each selector held against each pod says."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from topology.probes.kubernetes.objects import LabelExpression, LabelSelector
from topology.probes.kubernetes.selectors import Members, Pair, Selector


@pytest.mark.parametrize(
    ("operator", "values", "there", "absent", "other"),
    [
        ("In", ["x", "y"], True, False, False),
        ("NotIn", ["x"], False, True, True),
        ("Exists", None, True, False, True),
        ("DoesNotExist", None, False, True, False),
        ("Near", ["x"], False, False, False),
    ],
)
def test_an_expression_by_label(operator: str, values: list[str] | None, there: bool, absent: bool, other: bool) -> None:
    selector = Selector.of(LabelSelector(match_expressions=[LabelExpression("k", operator, values)]))
    assert [selector.matches(one) for one in ({"k": "x"}, {"l": "x"}, {"k": "z"})] == [there, absent, other]


def test_all_conditions_count_and_none_select_all() -> None:
    both = Selector.of(LabelSelector({"a": "1"}, [LabelExpression("b", "Exists")]))
    assert [both.matches(one) for one in ({"a": "1", "b": ""}, {"a": "1"}, {"b": ""}, {})] == [True, False, False, False]
    assert Selector.of(LabelSelector()).matches({})


def test_members_after_any_changes_are_as_each_held_against_each() -> None:
    chosen = random.Random(8)
    members, pairs = Members(), set[Pair]()
    pods: dict[str, tuple[str, Mapping[str, str]]] = {}
    selectors: dict[str, tuple[str, Selector]] = {}
    largest = 0
    for _ in range(3000):
        namespace, number = chosen.choice("ab"), chosen.randrange(12)
        if chosen.random() < 0.5:
            labels = None if chosen.random() < 0.3 else {key: chosen.choice("xy") for key in "klm" if chosen.random() < 0.6}
            name = f"pod-{number}"
            changed = members.put_pod(name, namespace, labels)
            pods.pop(name, None)
            if labels is not None:
                pods[name] = namespace, labels
        else:
            selector = None if chosen.random() < 0.3 else _selector(chosen)
            name = f"who-{number}"
            changed = members.put_selector(name, namespace, selector)
            selectors.pop(name, None)
            if selector is not None:
                selectors[name] = namespace, selector
        now = {
            (who, pod)
            for who, (where, selector) in selectors.items()
            for pod, (place, labels) in pods.items()
            if where == place and selector.matches(labels)
        }
        assert changed == pairs ^ now
        assert {(who, pod) for who in selectors for pod in members.pods(who)} == now
        pairs, largest = now, max(largest, len(now))
    assert largest > 10
    for name in pods:
        members.put_pod(name, "", None)
    for name in selectors:
        members.put_selector(name, "", None)
    assert not any((members._of, members._pods, members._selectors, members._having, members._wanting)), "nothing is left"


def _selector(chosen: random.Random) -> Selector:
    labels = {key: chosen.choice("xy") for key in "kl" if chosen.random() < 0.4}
    operators = [one for one in ("In", "NotIn", "Exists", "DoesNotExist") if chosen.random() < 0.2]
    return Selector.of(LabelSelector(labels, [LabelExpression("m", one, ["x"]) for one in operators]))

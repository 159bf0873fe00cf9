"""Steps with their modulators: ``order().by('name')`` is one instruction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gremlin_api.errors import ILLEGAL_ARGUMENT, PARSER, TraversalError
from gremlin_api.language.syntax import Argument, Step

OF_VERTEX_PROPERTIES = "~vertexProperties"
"""A step of ours: lets through properties of vertices that pass a traversal, and all else. As a modulator: of valueMap's."""

START = "start"
"""Where a traversal begins that begins with a label: ``as('a').out()``."""

_BY = frozenset(
    {"aggregate", "cyclicPath", "dedup", "format", "group", "groupCount", "math", "order", "path", "project", "propertyMap"}
    | {"sack", "sample", "select", "simplePath", "store", "tree", "valueMap", "where"}
)
"""Steps that take ``by``."""

_FROM_TO = frozenset({"cyclicPath", "path", "simplePath"})
_WITH = frozenset(
    {"V", "E", "out", "in", "both", "outE", "inE", "bothE", "to", "toE", "inV", "outV", "bothV", "toV", "otherV", "has"}
    | {"hasId", "hasLabel", "hasKey", "hasValue", "where", "filter", "values", "properties", "valueMap", "propertyMap", "index"}
    | {"call"}
)
"""Steps that take ``with``."""

_MAPS = frozenset({"valueMap", "propertyMap"})
_OPTION = frozenset({"branch", "choose"})
LOOP = frozenset({"repeat", "until", "emit", "times"})
"""What makes one instruction together."""


@dataclass(slots=True)
class Instruction:
    """A step and what follows it and belongs to it.

    Attributes:
        name: of the step.
        arguments: of the step.
        labels: by ``as``.
        modulators: ``by``, ``from``, ``to``, ``with``, ``option``; of a repeat also ``repeat`` itself, ``until``, ``emit`` and
            ``times``, in the order in which they came.
        at: where it stands in the text.
    """

    name: str
    arguments: tuple[Argument, ...] = ()
    labels: tuple[str, ...] = ()
    modulators: list[Step] = field(default_factory=list)
    at: int = -1

    def by(self) -> list[Step]:
        """Its ``by`` modulators."""
        return [one for one in self.modulators if one.name == "by"]


def folded(steps: Iterable[Step]) -> list[Instruction]:
    """The steps as instructions.

    Raises:
        TraversalError: a modulator follows a step that does not take it.
    """
    found: list[Instruction] = []
    for step in steps:
        last = found[-1] if found else None
        if step.name == "as":
            if last is None:
                last = Instruction(START, at=step.at)
                found.append(last)
            last.labels += tuple(label for label in step.arguments if label not in last.labels)  # type: ignore[misc]
        elif step.name in LOOP:
            _loop(found, step)
        elif step.name == OF_VERTEX_PROPERTIES and last is not None and last.name in _MAPS:
            last.modulators.append(step)
        elif step.name in MODULATORS and not _is_step(step):
            _modulate(last, step)
        else:
            found.append(Instruction(step.name, step.arguments, at=step.at))
    return found


def _is_step(step: Step) -> bool:
    """Whether ``to`` is a step of its own: one with a direction."""
    return step.name == "to" and getattr(step.arguments[0], "enum", "") == "Direction"


MODULATORS = {"by": _BY, "with": _WITH, "option": _OPTION, "from": _FROM_TO, "to": _FROM_TO}
"""By name: the steps that it may follow."""


def _modulate(last: Instruction | None, step: Step) -> None:
    if last is None or last.name not in MODULATORS[step.name]:
        kind = ILLEGAL_ARGUMENT if step.name in ("from", "to") else PARSER
        raise TraversalError(f"{step.name}() cannot follow {last.name if last else 'nothing'}()", kind)
    last.modulators.append(step)


def _loop(found: list[Instruction], step: Step) -> None:
    """``repeat``, ``until``, ``emit`` and ``times`` belong to one instruction, so long as none of them comes twice."""
    kind = _kind(step)
    last = found[-1] if found else None
    if last is None or last.name != "repeat" or last.labels or any(_kind(one) == kind for one in last.modulators):
        last = Instruction("repeat", at=step.at)
        found.append(last)
    last.modulators.append(step)


def _kind(step: Step) -> str:
    return "until" if step.name == "times" else step.name

"""What the families of steps share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from gremlin_api.interpreter.chain import Step
from gremlin_api.interpreter.instructions import Instruction
from gremlin_api.language.syntax import EnumValue
from gremlin_api.values import Value

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder

Build: TypeAlias = "Callable[[Builder, Instruction], Step]"
"""How a step is built of an instruction."""


def scope_and_rest(builder: Builder, instruction: Instruction) -> tuple[str, list[Value]]:
    """The scope, ``global`` where none is given, and the values of the other arguments."""
    values = [builder.value(one) for one in instruction.arguments]
    if values and isinstance(values[0], EnumValue) and values[0].enum == "Scope":
        return values[0].name, values[1:]
    return "global", values


def modulator_texts(builder: Builder, instruction: Instruction) -> tuple[str | None, str | None]:
    """The labels of ``from`` and ``to``."""
    found = {one.name: builder.value(one.arguments[0]) for one in instruction.modulators if one.name in ("from", "to")}
    return found.get("from"), found.get("to")

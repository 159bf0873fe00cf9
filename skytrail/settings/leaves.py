"""The tree's keys as one flat table: what the loader, the reference and the command line's options look up."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import inspect

from skytrail.settings.tree import Section, Settings
from skytrail.settings.values import format_duration, format_size, parse_duration, parse_size

_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}
_NONE = {"", "none", "null"}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One key that has a value.

    ``path`` is where it stands in the tree, ``annotation`` its annotated type, ``type`` the same as msgspec sees it
    without None, ``optional`` whether None is a value. The rest is what :func:`skytrail.settings.tree.key` was given.
    """

    path: tuple[str, ...]
    annotation: Any
    type: inspect.Type
    optional: bool
    default: Any
    description: str
    unit: str
    reason: str
    secret: bool
    check: Callable[[Any], None] | None

    @property
    def key(self) -> str:
        """The dotted name: ``flow.idle.udp``."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """The environment variable: ``SKYTRAIL_FLOW_IDLE_UDP``."""
        return "SKYTRAIL_" + "_".join(self.path).upper()

    @property
    def composite(self) -> bool:
        """Whether the value is a list or a mapping."""
        return isinstance(self.type, inspect.VarTupleType | inspect.DictType)

    def parse(self, text: str) -> object:
        """Return the raw value that ``text`` means: lists ``a,b``, mappings ``k=v,k=v``, or YAML in ``[…]``, ``{…}``.

        Raises ValueError when it means none of this key's type; bounds are :meth:`convert`'s matter.
        """
        text = text.strip()
        if self.optional and text.lower() in _NONE:
            return None
        if isinstance(self.type, inspect.BoolType):
            return _parse_bool(text)
        if isinstance(self.type, inspect.VarTupleType):
            return _parse_yaml(text) if text.startswith("[") else [part for part in _split(text) if part]
        if isinstance(self.type, inspect.DictType):
            return _parse_yaml(text) if text.startswith("{") else _parse_pairs(text)
        return text

    def convert(self, raw: object, *, text: bool) -> object:
        """Return the value of this key's type that ``raw`` stands for, within its bounds.

        ``text`` lets numbers be strings (environment, flags). Raises ValueError (msgspec's among them).
        """
        if isinstance(raw, str):
            if self.unit == "s":
                raw = parse_duration(raw)
            elif self.unit == "bytes":
                raw = parse_size(raw)
        value = msgspec.convert(raw, self.annotation, strict=not text)
        if self.check is not None and value is not None:
            self.check(value)
        return value

    def show(self, value: object) -> object:
        """Return ``value`` as a person would write it in the file: plain types, durations and sizes as text."""
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int | float) and self.unit == "s":
            return format_duration(value)
        if isinstance(value, int) and self.unit == "bytes":
            return format_size(value)
        return list(value) if isinstance(value, tuple) else value


def _parse_bool(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"expected true or false, got {text!r}")
    return word in _TRUE


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _parse_pairs(text: str) -> dict[str, str]:
    pairs = {}
    for part in filter(None, _split(text)):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError("expected name=value,name=value")
        pairs[name.strip()] = value.strip()
    return pairs


def _parse_yaml(text: str) -> object:
    import yaml  # noqa: PLC0415 - a process that reads no YAML does not pay for the library

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ValueError("expected a list as a,b or ['a', 'b'], or a mapping as k=v,k=v or {k: v}") from exc


def _without_none(kind: inspect.Type) -> tuple[inspect.Type, bool]:
    """Unwrap msgspec's description of a type: what it is, and whether it may be None."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if not isinstance(kind, inspect.UnionType):
        return kind, False
    members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
    assert len(members) == 1, "a key has one type, or that and None"
    return _without_none(members[0])[0], True


def _leaves(section: type[Section], path: tuple[str, ...]) -> Iterator[Leaf]:
    hints = typing.get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        annotation, where = hints[field.name], (*path, field.name)
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from _leaves(annotation, where)
            continue
        meta = next(m for m in reversed(annotation.__metadata__) if isinstance(m, msgspec.Meta) and m.description)
        kind, optional = _without_none(inspect.type_info(annotation))
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        yield Leaf(where, annotation, kind, optional, default, description=meta.description or "", **(meta.extra or {}))


LEAVES: Mapping[str, Leaf] = MappingProxyType({leaf.key: leaf for leaf in _leaves(Settings, ())})
"""Every key by its dotted name, in the order of the tree."""

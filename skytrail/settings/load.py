"""From file, environment and flags to one :class:`~skytrail.settings.tree.Settings`.

In rising order: defaults, file, standard OTEL_* variables, SKYTRAIL_* variables, flags. Each source gives values for
dotted keys; each value is converted by itself, so that an error names where it came from. Nothing here reads
``os.environ``: the command line hands it in.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from skytrail.errors import SettingsError
from skytrail.settings.leaves import LEAVES, Leaf
from skytrail.settings.otel import otel_values
from skytrail.settings.tree import Section, Settings

DEFAULT_FILE = Path("/etc/skytrail/skytrail.yaml")
FILE_VARIABLE = "SKYTRAIL_CONFIG"
COMMAND_LINE = "command line"
_QUOTE = "a value that begins with * ! & or @ needs quotes"

# What Kubernetes puts into every pod for a Service named skytrail or skytrail-…: nobody's settings.
_SERVICE_LINK = re.compile(r"SKYTRAIL_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")

_IN_FILE = "_FILE"
"""Ends the variable that names a file with a secret, where ours would hold the secret itself."""

_S = TypeVar("_S", bound=Section)


def load(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object], *, default_file: Path = DEFAULT_FILE
) -> Settings:
    """Return the effective settings.

    ``path`` is the file of ``--config``, else the one that SKYTRAIL_CONFIG names (either must exist), else
    ``default_file`` if there. ``flags`` maps dotted keys to values, or to text (or a sequence of texts, for lists) as
    the environment has it. Raises SettingsError: one line with source, key, what is wrong, and the nearest known key.
    """
    if path is None and environ.get(FILE_VARIABLE):
        path = Path(environ[FILE_VARIABLE])
    if path is None and default_file.exists():
        path = default_file
    values: dict[str, Any] = {}
    if path is not None:
        values.update(_from_file(path))
    values.update(_from_otel(environ))
    values.update(_from_environment(environ))
    values.update(_from_flags(flags))
    _check_together(values)
    return _build(Settings, values, "")


def _from_file(path: Path) -> Iterator[tuple[str, object]]:
    source = str(path)
    for key, raw in _flatten(_read_yaml(path), source, ""):
        yield key, _convert(LEAVES[key], raw, source, text=False)


def _read_yaml(path: Path) -> object:
    """Return the document in ``path``, with a duplicate key refused (PyYAML would keep the last one silently)."""
    import yaml  # noqa: PLC0415 - a process without a file does not pay for the library

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]  # the base is chosen at run time
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
            seen = set()
            for name, _ in node.value:
                word = str(name.value)
                if word in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"key {word!r} twice", name.start_mark)
                seen.add(word)
            mapping: dict[object, object] = super().construct_mapping(node, deep)
            return mapping

    try:
        return yaml.load(path.read_bytes(), Loader)  # noqa: S506 - Loader is the safe loader
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read: {exc.strerror}; give another file with --config") from exc
    except yaml.MarkedYAMLError as exc:
        line = f":{exc.problem_mark.line + 1}" if exc.problem_mark else ""
        hint = "" if isinstance(exc, yaml.constructor.ConstructorError) else f"; {_QUOTE}"
        raise SettingsError(f"{path}{line}: not valid YAML: {exc.problem or exc.context}{hint}") from exc
    except (yaml.YAMLError, ValueError) as exc:  # a byte that is no text; a number or date out of range
        raise SettingsError(f"{path}: not valid YAML: {_one_line(exc)}") from exc


def _flatten(node: object, source: str, prefix: str) -> Iterator[tuple[str, object]]:
    """Yield (dotted key, raw value) of every leaf that the nested mappings of a file set."""
    if node is None:  # "flow:" with nothing below
        return
    if not isinstance(node, Mapping):
        where = f"{prefix}: " if prefix else ""
        raise SettingsError(f"{source}: {where}expected a mapping of keys, got {type(node).__name__}")
    for name, value in node.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if key in LEAVES:
            yield key, value
        elif _is_section(key):
            yield from _flatten(value, source, key)
        else:
            raise SettingsError(f"{source}: {key}: unknown key{_nearest(key, _names())}")


def _from_otel(environ: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    try:
        for variable, key, raw in otel_values(environ):
            yield key, _convert(LEAVES[key], raw, variable, text=False)
    except ValueError as exc:
        variable, problem = exc.args
        raise SettingsError(f"{variable}: {problem}") from exc


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    by_variable = {leaf.variable: leaf for leaf in LEAVES.values()}
    in_files = {f"{leaf.variable}{_IN_FILE}": leaf for leaf in LEAVES.values() if leaf.secret}
    for variable in sorted(name for name in environ if name.startswith("SKYTRAIL_") and name != FILE_VARIABLE):
        leaf = by_variable.get(variable)
        if leaf is not None:
            yield leaf.key, _convert(leaf, environ[variable], variable, text=True)
        elif (secret := in_files.get(variable)) is not None:
            if secret.variable in environ:
                raise SettingsError(f"{variable}: given beside {secret.variable}: give one of them")
            yield secret.key, _convert(secret, _secret(variable, environ[variable]), variable, text=True)
        elif not _SERVICE_LINK.fullmatch(variable):
            raise SettingsError(f"{variable}: unknown variable{_nearest(variable, by_variable)}")


def _secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text("utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise SettingsError(f"{variable}: {path}: cannot be read: {reason}; name a file with the secret alone") from exc


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for key, raw in flags.items():
        if key not in LEAVES:
            below = f"; it is a section: set a key below it, as {key}.…" if _is_section(key) else ""
            raise SettingsError(f"{COMMAND_LINE}: {key}: unknown key{below or _nearest(key, _names())}")
        yield key, _convert(LEAVES[key], raw, COMMAND_LINE, text=True)


def _convert(leaf: Leaf, raw: object, source: str, *, text: bool) -> object:
    """Return the typed value; ``text`` says that the source knows strings only."""
    try:
        if isinstance(raw, str) and (text or leaf.composite):
            raw = leaf.parse(raw)
        elif text and isinstance(raw, Sequence) and all(isinstance(part, str) for part in raw):
            raw = [item for part in raw for item in _as_list(leaf.parse(part))]
        return leaf.convert(raw, text=text)
    except (ValueError, TypeError) as exc:
        problem = "expected names with a text each (not shown: may be secret)" if leaf.secret else _problem(leaf, exc)
        raise SettingsError(f"{source}: {leaf.key}: {problem}") from exc


def _as_list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


_WORDS = {
    "array": "a list",
    "object": "a mapping",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
"""msgspec's words for types, and people's."""


def _problem(leaf: Leaf, exc: Exception) -> str:
    """Say what is wrong in words of the file, not of msgspec."""
    problem = _one_line(exc).replace("`", "")
    for theirs, ours in _WORDS.items():
        problem = re.sub(rf"\b{theirs}\b", ours, problem)
    if problem.startswith("Invalid enum value"):
        problem = f"expected one of {', '.join(getattr(leaf.type, 'values', ()))}, got{problem[18:]}"
    problem = problem.replace(" - at key in $", " as key").replace(" - at $", " at ")
    if leaf.unit == "s":
        problem = problem.replace("a number", "a number of seconds", 1)
    return problem[:1].lower() + problem[1:]


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())


def _names() -> list[str]:
    """Every key and section, for the nearest one."""
    sections = {".".join(leaf.path[:depth]) for leaf in LEAVES.values() for depth in range(1, len(leaf.path))}
    return [*LEAVES, *sorted(sections)]


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?", or what to do when nothing is near. A last part alone may be the whole key's."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    close = close or [key for key in names if "." in key and key.rpartition(".")[2] == name.rpartition(".")[2]]
    return f"; did you mean {close[0]}?" if close else "; skytrail config --reference lists all"


def _is_section(key: str) -> bool:
    return any(known.startswith(f"{key}.") for known in LEAVES)


def _check_together(values: Mapping[str, Any]) -> None:
    """Refuse values that are right alone and wrong together."""
    if bool(values.get("http.tls_cert")) != bool(values.get("http.tls_key")):
        missing, given = ("tls_key", "tls_cert") if values.get("http.tls_cert") else ("tls_cert", "tls_key")
        raise SettingsError(f"http.{missing}: missing, though http.{given} is given; TLS needs both")
    wire = {name: bool(values.get(f"wire.tls_{name}")) for name in ("cert", "key", "ca")}
    if any(wire.values()) and not all(wire.values()):
        missing, given = (next(name for name, there in wire.items() if there is wanted) for wanted in (False, True))
        raise SettingsError(f"wire.tls_{missing}: missing, though wire.tls_{given} is given; mutual TLS needs cert, key and ca")
    if values.get("wire.tls_crl") and not wire["cert"]:
        raise SettingsError("wire.tls_crl: given without wire.tls_cert, tls_key and tls_ca, in whose TLS alone it counts")
    if "*" in values.get("http.cors_origins", ()) and values.get("http.users_file"):
        raise SettingsError("http.cors_origins: '*' cannot stand beside http.users_file; name the origins")
    for section in ("otlp.spans_to", "otlp.metrics_to"):
        endpoint = values.get(f"{section}.endpoint") or values.get("otlp.endpoint")
        protocol = values.get(f"{section}.protocol") or values.get("otlp.protocol")
        if protocol == "http/protobuf" and endpoint and "://" not in endpoint:
            key = f"{section}.endpoint" if values.get(f"{section}.endpoint") else "otlp.endpoint"
            raise SettingsError(f"{key}: http/protobuf needs a URL: write http://{endpoint} or https://{endpoint}")


def _build(section: type[_S], values: Mapping[str, Any], prefix: str) -> _S:
    """Construct ``section`` from the values below ``prefix``; what is not given keeps its default."""
    own: dict[str, Any] = {}
    for name, default in ((name, getattr(section(), name)) for name in section.__struct_fields__):
        if isinstance(default, Section):
            own[name] = _build(type(default), values, f"{prefix}{name}.")
        elif f"{prefix}{name}" in values:
            own[name] = values[f"{prefix}{name}"]
    return section(**own)

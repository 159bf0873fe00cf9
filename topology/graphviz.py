"""A graph in Skydive's shape as text: for Graphviz, and to be printed. Pure. Source: Graphviz's DOT language."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.shape import Json


def as_dot(graph: Json) -> str:
    """The graph, ``{"Nodes": …, "Edges": …}``, in the DOT language; ownership is dashed."""
    lines = ["graph topology {", "  node [shape=box];"]
    for node in graph["Nodes"]:
        label = _quoted(name_of(node), printable(node["Metadata"].get("Type", "")))
        lines.append(f"  {_quoted(node['ID'])} [label={label}];")
    for edge in graph["Edges"]:
        relation = printable(edge["Metadata"].get("RelationType", ""))
        style = "dashed" if relation == "ownership" else "solid"
        lines.append(f"  {_quoted(edge['Parent'])} -- {_quoted(edge['Child'])} [style={style}, label={_quoted(relation)}];")
    return "\n".join([*lines, "}", ""])


def name_of(element: Json) -> str:
    """What an element is called, to be seen."""
    return printable(element["Metadata"].get("Name") or element["Metadata"].get("RelationType") or element["ID"])


def printable(value: object) -> str:
    """A value to be seen, not obeyed by the terminal: whoever may name an interface chose it."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in str(value))


def _quoted(*lines: str) -> str:
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'

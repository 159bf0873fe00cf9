"""GraphML by hand, as NetworkX, yEd and Gephi write it, and what is refused with its line."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gremlin_api.graphs.files.errors import GraphFileError
from gremlin_api.graphs.files.graphml import read
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.numbers import Float, Long
from gremlin_api.values import Vertex, hashable

NETWORKX = """<?xml version='1.0' encoding='utf-8'?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <key id="d2" for="edge" attr.name="weight" attr.type="double"><default>1.0</default></key>
  <key id="d1" for="node" attr.name="up" attr.type="boolean" />
  <key id="d0" for="node" attr.name="mtu" attr.type="long" />
  <graph edgedefault="undirected">
    <node id="a"><data key="d0">1500</data><data key="d1">True</data></node>
    <node id="b é"/>
    <edge source="a" target="b é" id="0"><data key="d2">0.5</data></edge>
    <edge source="a" target="b é" id="1"/>
    <edge source="b é" target="b é" id="0"/>
  </graph>
</graphml>"""
YED = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:y="http://www.yworks.com/xml/graphml">
  <!--Created by yEd 3.23-->
  <key attr.name="Description" attr.type="string" for="graph" id="d0"/>
  <key for="port" id="d1" yfiles.type="portgraphics"/>
  <key attr.name="url" attr.type="string" for="node" id="d4">
    <default xml:space="preserve"><![CDATA[none & nil]]></default></key>
  <key for="node" id="d6" yfiles.type="nodegraphics"/>
  <key for="edge" id="d10" yfiles.type="edgegraphics"/>
  <graph edgedefault="directed" id="G">
    <data key="d0" xml:space="preserve">a drawing</data>
    <node id="n0">
      <data key="d6"><y:ShapeNode><y:Fill color="#FFCC00"/>
        <y:NodeLabel alignment="center">core
1<y:LabelModel><y:SmartNodeLabelModel/></y:LabelModel></y:NodeLabel><y:NodeLabel>second</y:NodeLabel></y:ShapeNode></data>
      <port name="p"/>
    </node>
    <node id="n1"><data key="d4">http://x</data><data key="d6"><y:ShapeNode/></data></node>
    <edge id="e0" source="n0" sourceport="p" target="n1">
      <data key="d10"><y:PolyLineEdge><y:EdgeLabel>10G</y:EdgeLabel></y:PolyLineEdge></data>
    </edge>
    <edge source="n1" target="n0"/>
  </graph>
  <data key="d7"><y:Resources/></data>
</graphml>"""
GEPHI = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key attr.name="label" attr.type="string" for="node" id="label"/>
<key attr.name="Edge Label" attr.type="string" for="edge" id="edgelabel"/>
<key attr.name="size" attr.type="float" for="all" id="size"/>
<graph edgedefault="directed">
<edge id="7" source="1" target="2"><data key="edgelabel">peers</data><data key="size">0.1</data></edge>
<node id="1"><data key="label">r1</data><data key="size">10.0</data></node>
<node id="2"><data key="label">r2</data></node>
</graph></graphml>"""


def _values(vertex: Vertex) -> dict[str, Any]:
    return {key: [hashable(one.value) for one in several] for key, several in (vertex.properties or {}).items()}


def _nodes(graph: MemoryGraph) -> dict[Any, Any]:
    return {one.id: _values(one) for one in graph.vertices()}


def _edges(graph: MemoryGraph) -> list[Any]:
    return [(one.id, one.out.id, one.into.id, dict(one.properties or {})) for one in graph.edges()]


def test_networkx() -> None:
    graph = read(NETWORKX.encode())
    assert _nodes(graph) == {"a": {"mtu": [hashable(Long(1500))], "up": [hashable(True)]}, "b é": {}}
    assert _edges(graph) == [  # its IDs of edges are numbered for each two nodes
        ("e0", "a", "b é", {"weight": 0.5}),
        ("e1", "a", "b é", {"weight": 1.0}),
        ("e2", "b é", "b é", {"weight": 1.0}),
    ]
    assert {one.label for one in [*graph.vertices(), *graph.edges()]} == {"vertex", "edge"}


def test_yed() -> None:
    graph = read(YED.encode())
    assert _nodes(graph) == {"n0": {"label": ["core\n1"], "url": ["none & nil"]}, "n1": {"url": ["http://x"]}}
    assert _edges(graph) == [("e0", "n0", "n1", {"label": "10G"}), ("e1", "n1", "n0", {})]


def test_gephi_and_edges_before_their_nodes() -> None:
    graph = read(GEPHI.encode())
    assert _nodes(graph) == {"1": {"label": ["r1"], "size": [hashable(Float(10))]}, "2": {"label": ["r2"]}}
    assert _edges(graph) == [("7", "1", "2", {"Edge Label": "peers", "size": Float(0.1)})]
    assert graph.edge("7") is not None


def test_an_edge_without_an_id_gets_one_that_no_other_has() -> None:
    edges = '<edge source="1" target="1"/><edge id="e0" source="1" target="1"/><edge source="1" target="1"/>'
    graph = read(f'<graphml><graph><node id="1"/>{edges}</graph></graphml>'.encode())
    assert [one.id for one in graph.edges()] == ["e1", "e0", "e2"]


def test_labels_of_tinkerpop_and_their_defaults() -> None:
    keys = '<key id="labelV" for="node" attr.name="labelV"><default>host</default></key><key id="labelE" attr.name="x"/>'
    nodes = '<node id="1"/><node id="2"><data key="labelV">port</data></node>'
    edge = '<edge source="1" target="2"><data key="labelE">has</data></edge>'
    graph = read(f"<graphml>{keys}<graph>{nodes}{edge}</graph></graphml>".encode())
    assert [one.label for one in graph.vertices()] == ["host", "port"]
    assert [(one.label, one.properties) for one in graph.edges()] == [("has", {})]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", " -7 ", -7), ("int", "+2147483647", 2**31 - 1), ("long", "-9223372036854775808", Long(-(2**63))),
        ("double", "1e3", 1000.0), ("double", "INF", math.inf), ("double", "NaN", math.nan), ("double", ".5", 0.5),
        ("float", "0.1", Float(0.1)), ("float", "-Infinity", Float(-math.inf)), ("boolean", "TRUE", True),
        ("boolean", "0", False), ("string", " a ", " a "), ("string", "", ""), ("date", "2026-01-01", "2026-01-01"),
        ("string", "&lt;&#233;&amp;", "<é&"),
    ],
)  # fmt: skip
def test_values_have_the_types_of_their_keys(kind: str, text: str, value: Any) -> None:
    assert hashable(_one(kind, text)) == hashable(value)


def _one(kind: str, text: str) -> Any:
    key = f'<key id="k" for="node" attr.name="n" attr.type="{kind}"/>'
    graph = read(f'<graphml>{key}<graph><node id="1"><data key="k">{text}</data></node></graph></graphml>'.encode())
    (vertex,) = graph.vertices()
    assert vertex.properties
    return vertex.properties["n"][0].value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("int", "2147483648"), ("int", "1.5"), ("int", ""), ("int", "1_0"), ("int", "٣"), ("int", "9" * 5000),
        ("double", "1_0"),
        ("long", str(2**70)), ("double", "one"), ("double", "nan"), ("float", "0x1p3"), ("boolean", "yes"), ("boolean", ""),
    ],
)  # fmt: skip
def test_what_is_not_of_its_type_is_refused(kind: str, text: str) -> None:
    with pytest.raises(GraphFileError, match=f"^line 1: '.{{0,61}}' is no {kind}, which 'n' is$"):
        _one(kind, text)


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", ""), ("utf-16", ""), ("iso-8859-1", ""), ("utf-8", "\ufeff")])
def test_encodings(encoding: str, mark: str) -> None:
    text = f'{mark}<?xml version="1.0" encoding="{encoding}"?><graphml><graph><node id="é"/></graph></graphml>'
    assert [one.id for one in read(text.encode(encoding)).vertices()] == ["é"]


LAUGHS = "".join(f'<!ENTITY l{at} "{f"&l{at - 1};" * 10}">' for at in range(1, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'<!DOCTYPE g [<!ENTITY l0 "ha">{LAUGHS}]>\n<graphml>&l9;</graphml>', "line 1: a document type"),
        ('<!DOCTYPE g SYSTEM "file:///etc/passwd"><graphml/>', "line 1: a document type"),
        ("<graphml>\n&lol;</graphml>", "line 2: undefined entity"),
        ("<graphml><graph>", "line 1: no element found"),
        ("<graphml>\n</graph>", "line 2: mismatched tag"),
        ("<svg/>", "line 1: <svg> is no GraphML: export"),
        ("<graphml/>", "there is no <graph> in it"),
        ("<graphml><graph/>\n<graph/></graphml>", "line 2: a second graph"),
        ("<graphml><graph><node/></graph></graphml>", "line 1: a node without id"),
        ('<graphml><graph><node id="1"/>\n<node id="1"/></graph></graphml>', "line 2: the node '1' stands there twice"),
        ('<graphml><graph>\n<edge source="1" target="1"/></graph></graphml>', "line 2: an edge whose source is not there: '1'"),
        ('<graphml><graph><node id="1"/>\n<edge source="1"/></graph></graphml>', "line 2: an edge without target"),
        ('<graphml><graph><node id="1"><graph/></node></graph></graphml>', "line 1: a graph within a node or an edge: ungroup"),
        ("<graphml><graph>\n<hyperedge/></graph></graphml>", "line 2: a hyperedge"),
        ('<graphml><graph><node id="1"><data key="k"/></node></graph></graphml>', "'k', which is declared nowhere"),
        ('<graphml><key id="k"/><key id="k"/></graphml>', "the key 'k' is declared twice"),
        (
            '<graphml><key id="k"/><graph><node id="1"><data key="k"/><data key="k"/></node></graph></graphml>',
            "'k' stands there twice in one node",
        ),
        (f"<graphml>{'<a>' * 1000}{'</a>' * 1000}</graphml>", "nested more than 100 deep"),
        ('<?xml version="1.0" encoding="zlib"?><graphml/>', "the encoding 'zlib' is not known"),
        (f"<graphml><!--{' ' * (6 << 20)}--></graphml>", "a tag or a comment of more than 4 MiB"),
    ],
)  # fmt: skip
def test_what_is_no_graph_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(GraphFileError, match=message):
        read(text.encode())


def test_what_is_no_utf8_is_refused() -> None:
    with pytest.raises(GraphFileError, match=r"line 2: not well-formed \(invalid token\): give well-formed GraphML"):
        read(b"<graphml>\n\xff</graphml>")

from __future__ import annotations

import asyncio
import json
import math
import random
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from gremlin_python.driver import request, serializer
from gremlin_python.process import strategies, traversal
from lab.gremlinserver import Server

from gremlin_api.language.syntax import EnumValue, Predicate, Strategy, Variable
from gremlin_api.numbers import BigInteger, Long
from gremlin_api.values import (
    Explanation,
    Map,
    Metrics,
    OrderedSet,
    Path,
    Stage,
    TraversalMetrics,
    Tree,
    Value,
    Vertex,
    VertexProperty,
)
from gremlin_api.wire.graphbinary import Reader
from gremlin_api.wire.graphson import typed
from gremlin_api.wire.graphson2 import value_of
from gremlin_api.wire.messages import (
    FORMATS,
    GRAPHBINARY,
    JSON,
    Binding,
    Bytecode,
    MessageError,
    Request,
    Response,
    Traverser,
    read_request,
    typed3,
    write_response,
)

GRAPHSON2, GRAPHSON3 = "application/vnd.gremlin-v2.0+json", "application/vnd.gremlin-v3.0+json"
UNTYPED1, UNTYPED2, UNTYPED3 = (f"application/vnd.gremlin-v{version}.0+json;types=false" for version in (1, 2, 3))
ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


def framed(kind: str, content: bytes) -> bytes:
    return bytes([len(kind)]) + kind.encode() + content


# gremlinpython's requests.

SERIALIZERS = {
    GRAPHBINARY: serializer.GraphBinarySerializersV1,
    GRAPHSON2: serializer.GraphSONSerializersV2d0,
    GRAPHSON3: serializer.GraphSONSerializersV3d0,
}
P, TextP = traversal.P, traversal.TextP


def bytecode_of_gremlinpython() -> traversal.Bytecode:
    inner = traversal.Bytecode()
    inner.add_step("out", "knows")
    made = traversal.Bytecode()
    made.add_source("withStrategies", strategies.SubgraphStrategy(vertices=inner, check_adjacent_vertices=False))
    made.add_step("V", 1, None)
    made.add_step("has", "name", P.within("a", "b").or_(TextP.starting_with("c")))
    made.add_step("where", inner)
    made.add_step("order", traversal.Scope.local)
    made.add_step("limit", 5)
    return made


INNER: Value = Bytecode((("out", ("knows",)),))
STRATEGY = Strategy("SubgraphStrategy", (("vertices", INNER), ("checkAdjacentProperties", False)))
BYTECODE = Bytecode(
    (
        ("V", (1, None)),
        ("has", ("name", Predicate("or", (Predicate("within", ("a", "b")), Predicate("startingWith", ("c",)))))),
        ("where", (INNER,)),
        ("order", (EnumValue("Scope", "local"),)),
        ("limit", (5,)),
    ),
    (("withStrategies", (STRATEGY,)),),
)


def framed_bytecode(kind: str) -> bytes:
    arguments = {"gremlin": bytecode_of_gremlinpython(), "aliases": {"g": "gmodern"}}
    made = request.RequestMessage("traversal", "bytecode", arguments)
    return bytes(SERIALIZERS[kind]().serialize_message(str(ID), made))


@pytest.mark.parametrize("kind", SERIALIZERS)
def test_a_bytecode_of_gremlinpython_is_read(kind: str) -> None:
    arguments = {"gremlin": BYTECODE, "aliases": Map([("g", "gmodern")])}
    assert read_request(framed_bytecode(kind)) == (Request(ID, "bytecode", "traversal", arguments), kind)


@pytest.mark.parametrize("kind", SERIALIZERS)
def test_a_script_of_gremlinpython_is_read(kind: str) -> None:
    arguments = {"gremlin": "g.V(x)", "bindings": {"x": 1, "y": [1.5, "a", None]}, "batchSize": 64}
    frame = SERIALIZERS[kind]().serialize_message(str(ID), request.RequestMessage("", "eval", arguments))
    found, told = read_request(frame)
    assert (told, found.id, found.operation, found.processor) == (kind, ID, "eval", "")
    assert found.arguments == {"gremlin": "g.V(x)", "bindings": Map([("x", 1), ("y", [1.5, "a", None])]), "batchSize": 64}


# Requests as the documentation has them.


def test_a_request_without_processor_or_arguments_is_read() -> None:
    told = {"requestId": str(ID), "op": "close"}
    assert read_request(framed(GRAPHSON3, json.dumps(told).encode())) == (Request(ID, "close", "", {}), GRAPHSON3)


@pytest.mark.parametrize("kind", [GRAPHSON2, GRAPHSON3, UNTYPED1, UNTYPED2, UNTYPED3, JSON])
def test_requests_are_read_in_all_formats_of_json(kind: str) -> None:
    told = {"requestId": str(ID), "op": "eval", "processor": "session", "args": {"gremlin": "g.V()", "bindings": {"x": 2.50}}}
    found = Request(ID, "eval", "session", {"gremlin": "g.V()", "bindings": Map([("x", 2.5)])})
    assert read_request(framed(kind, json.dumps(told).encode())) == (found, kind)


def test_a_text_frame_is_json() -> None:
    told = json.dumps(
        {"requestId": {"@type": "g:UUID", "@value": str(ID)}, "op": "eval", "args": {"@type": "g:Map", "@value": ["a", 1]}}
    )
    assert read_request(told) == (Request(ID, "eval", "", {"a": 1}), JSON)


def test_numbers_keep_all_their_digits() -> None:
    told = """{"requestId": "00112233-4455-6677-8899-aabbccddeeff", "op": "eval", "args": {"x": [
        {"@type": "gx:BigDecimal", "@value": 12345678901234567890.50},
        {"@type": "gx:BigInteger", "@value": 123456789012345678901234567890}, {"@type": "g:Double", "@value": 1e400},
        {"@type": "g:Int64", "@value": 5}, 1.5, 123456789012345678901234567890]}}"""
    large = 123456789012345678901234567890
    found = read_request(told)[0].arguments["x"]
    assert found == [Decimal("12345678901234567890.50"), large, math.inf, 5, 1.5, large]
    assert [type(one) for one in found] == [Decimal, BigInteger, float, Long, float, int]


def nested(levels: int) -> str:
    return (
        '{"requestId": "00112233-4455-6677-8899-aabbccddeeff", "op": "eval", "args": {"a": '
        + "[" * levels
        + "]" * levels
        + "}}"
    )


HOSTILE: list[bytes | str] = [
    b"", b"\x00", b"\x80" + b"a" * 200, b"\xff", b"\x05abc", framed(GRAPHBINARY, b""),
    framed("text/plain", b"{}"), framed("é", b"{}"), framed("application/vnd.gremlin-v1.0+json", b"{}"),
    framed(GRAPHBINARY, b"\x81"), framed(GRAPHBINARY, b"\x01" + bytes(28)), framed(GRAPHBINARY, b"\x81" + bytes(26)),
    framed(GRAPHBINARY, b"\x81" + bytes(24) + b"\x00\x00\x00\x01\xfe\x01\xfe\x01"),
    framed(GRAPHBINARY, b"\x81" + bytes(24) + b"\x7f\xff\xff\xff"),
    framed(GRAPHSON3, b"\xff\xfe"), framed(GRAPHSON3, b'"a"'), framed(GRAPHSON3, b"{"), "", "[]", "{}", "null", "NaN",
    '{"requestId": 5, "op": "eval"}', '{"requestId": "a", "op": "eval"}', f'{{"requestId": "{ID}"}}',
    f'{{"requestId": "{ID}", "op": 5}}',
    f'{{"requestId": "{ID}", "op": "eval", "processor": null}}', f'{{"requestId": "{ID}", "op": "eval", "args": []}}',
    f'{{"requestId": "{ID}", "op": "eval", "args": {{"@type": "g:Map", "@value": [1, 2]}}}}',
    f'{{"requestId": "{ID}", "op": "eval", "args": {{"a": 1e99999999999999999999}}}}',
    f'{{"requestId": "{ID}", "op": "eval", "args": {{"a": {"9" * 5000}}}}}',
    f'{{"requestId": "{ID}", "op": "eval", "args": {{"a": {{"@type": "g:Lambda", "@value": {{}}}}}}}}',
    nested(400), nested(100_000), "\ud800", f'{{"requestId": "{ID}", "op": "eval", "args": {{"a": NaN}}}}',
]  # fmt: skip


@pytest.mark.parametrize("frame", HOSTILE)
def test_what_is_no_request_is_refused(frame: bytes | str) -> None:
    with pytest.raises(MessageError):
        read_request(frame)


def test_frames_that_were_changed_are_read_or_refused_but_nothing_else() -> None:
    frames = [framed_bytecode(kind) for kind in SERIALIZERS]
    changed, refused = random.Random(7), 0
    for _ in range(6000):
        frame = bytearray(changed.choice(frames))
        for _ in range(changed.choice([1, 1, 3])):
            frame[changed.randrange(len(frame))] = changed.choice([*b'"[]{}:,0', 0, 0x7F, 0xFF, changed.randrange(256)])
        try:
            read_request(bytes(frame[: changed.choice([len(frame), changed.randrange(len(frame))])]))
        except MessageError:
            refused += 1
    assert 3000 < refused < 6000


# Responses.

RESPONSE = Response(ID, 200, "", {"host": "/127.0.0.1"}, [1, Traverser(2, "a")], {"n": Long(1)})


@pytest.mark.parametrize("kind", SERIALIZERS)
def test_gremlinpython_reads_what_is_written(kind: str) -> None:
    told = SERIALIZERS[kind]().deserialize_message(write_response(RESPONSE, kind))
    assert uuid.UUID(told["requestId"]) == ID
    assert told["status"] == {"code": 200, "message": "", "attributes": {"host": "/127.0.0.1"}}
    assert told["result"] == {"meta": {"n": 1}, "data": [1, traversal.Traverser("a", 2)]}


def int32(value: int) -> dict[str, Any]:
    return {"@type": "g:Int32", "@value": value}


@pytest.mark.parametrize(
    ("kind", "attributes", "data"),
    [
        (GRAPHSON3, {"@type": "g:Map", "@value": ["a", int32(1)]}, {"@type": "g:List", "@value": [int32(5)]}),
        (JSON, {"@type": "g:Map", "@value": ["a", int32(1)]}, {"@type": "g:List", "@value": [int32(5)]}),
        (GRAPHSON2, {"a": int32(1)}, [int32(5)]),
        (UNTYPED3, {"a": 1}, [5]),
        (UNTYPED2, {"a": 1}, [5]),
        (UNTYPED1, {"a": 1}, [5]),
    ],
)
def test_a_response_is_json_as_the_documentation_has_it(kind: str, attributes: Any, data: Any) -> None:
    told = json.loads(write_response(Response(ID, 206, "é", {"a": 1}, [5], {"a": 1}), kind))
    assert told == {
        "requestId": str(ID),
        "status": {"message": "é", "code": 206, "attributes": attributes},
        "result": {"data": data, "meta": attributes},
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_a_response_to_what_could_not_be_read_has_no_id(kind: str) -> None:
    content = write_response(Response(None, 499, "why"), kind)
    if kind == GRAPHBINARY:
        assert content == bytes.fromhex("81 01 000001f3 00 00000003") + b"why" + bytes(8) + b"\xfe\x01"
    else:
        told = json.loads(content)
        assert (told["requestId"], told["result"]["data"], told["status"]["code"]) == (None, None, 499)


def test_big_decimals_are_written_as_numbers() -> None:
    content = write_response(Response(ID, 200, data=[Decimal("12345678901234567890.50"), 2**70]), UNTYPED3)
    assert b'"data":[12345678901234567890.50,1180591620717411303424]' in content


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("data", [Variable("x"), [object()], [Decimal("NaN"), Variable("x")]])
def test_what_has_no_form_is_refused(kind: str, data: Value) -> None:
    with pytest.raises(MessageError, match="cannot be written"):
        write_response(Response(ID, 200, data=data), kind)


def test_a_number_that_64_bits_do_not_hold_is_refused() -> None:
    with pytest.raises(MessageError, match="cannot be written"):
        write_response(Response(ID, 200, data=[Traverser(2**63, "a")]), GRAPHBINARY)


def test_a_response_that_is_too_deep_is_refused() -> None:
    data: Value = []
    for _ in range(5000):
        data = [data]
    for kind in FORMATS:
        with pytest.raises(MessageError, match="cannot be written"):
            write_response(Response(ID, 200, data=data), kind)


@pytest.mark.parametrize("kind", ["text/plain", "application/vnd.gremlin-v1.0+json", ""])
def test_a_format_that_is_not_known_is_refused(kind: str) -> None:
    with pytest.raises(MessageError, match="not written here"):
        write_response(RESPONSE, kind)


def test_what_messages_hold_has_its_forms_in_graphson_3() -> None:
    assert typed3(Predicate("within", (1,))) == {
        "@type": "g:P",
        "@value": {"predicate": "within", "value": {"@type": "g:List", "@value": [int32(1)]}},
    }
    assert typed3(Predicate("and", (Predicate("gt", (1,)), Predicate("regex", ("a",)))))["@value"]["value"] == [
        {"@type": "g:P", "@value": {"predicate": "gt", "value": int32(1)}},
        {"@type": "g:TextP", "@value": {"predicate": "regex", "value": "a"}},
    ]
    assert typed3(Bytecode((("V", (Binding("x", 1),)),)))["@value"] == {
        "step": [["V", {"@type": "g:Binding", "@value": {"key": "x", "value": int32(1)}}]]
    }
    assert typed3(TraversalMetrics(1_500_000, (Metrics("1", "V", 5),)))["@value"]["@value"][:3] == [
        "dur", {"@type": "g:Double", "@value": 1.5}, "metrics",
    ]  # fmt: skip


def test_other_values_are_as_graphson_3_has_them() -> None:
    tree = Tree([("a", Tree())])
    told = [1, "a", tree, OrderedSet([1]), Map([("a", [1])]), datetime(2020, 1, 1, tzinfo=UTC), EnumValue("T", "id")]
    assert typed3(told) == typed(told)


def test_elements_in_paths_have_no_properties() -> None:
    one = Vertex(1, "a", {"k": [VertexProperty(2, "k", "v", {"m": 1})]})
    path = Path([one, [one], one.properties["k"][0] if one.properties else None], [frozenset()] * 3)
    assert typed3(path) == typed(Path([Vertex(1, "a"), [Vertex(1, "a")], VertexProperty(2, "k", "v")], [frozenset()] * 3))


# A Gremlin Server.


def response_of(content: bytes) -> Response:
    """A response in GraphBinary."""
    reader = Reader(content)
    reader.take(1)
    id_ = None if reader.take(1)[0] else reader.uuid()
    code, message = reader.integer(), None if reader.take(1)[0] else reader.text()
    assert message is not None
    attributes, meta = reader.named(), reader.named()
    data = reader.value()
    assert reader.at == len(content)
    return Response(id_, code, message, attributes, data, meta)


async def _exchange(url: str, frame: bytes | str) -> list[bytes]:
    """All frames that answer one."""
    found: list[bytes] = []
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
        await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
        while True:
            told = await socket.receive(timeout=20)
            found.append(told.data if isinstance(told.data, bytes) else told.data.encode())
            code = response_of(found[-1]).code if found[-1][0] == 0x81 else json.loads(found[-1])["status"]["code"]
            if code != 206:
                return found


def asked(server: Server, kind: str, processor: str, operation: str, arguments: dict[str, Any]) -> list[bytes]:
    made = SERIALIZERS[kind]().serialize_message(str(ID), request.RequestMessage(processor, operation, arguments))
    return asyncio.run(_exchange(server.ws, made))


SCRIPTS = [
    "g.V()", "g.E()", "g.V().outE().inV().path()", "g.V().valueMap(true)", "g.V().group().by(out().fold())",
    "g.V().out().tree()", "g.V().out().aggregate('x').cap('x')", "g.V().properties()",
    "g.inject(1, 2l, 3b, 4s, 5n, 1.5, 2.5d, 0.1f, true, null, 'é', NaN)",
    "g.V().limit(0)", "g.inject(datetime('2020-01-01T00:00:00Z'), id, OUT)", "g.V().repeat(both()).times(3)",
]  # fmt: skip


@pytest.mark.lab
@pytest.mark.parametrize("materialize", ["all", "tokens"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_responses_to_scripts_are_the_frames_of_a_gremlin_server(server: Server, script: str, materialize: str) -> None:
    arguments = {"gremlin": script, "language": "gremlin-lang", "aliases": {"g": "gcrew"}, "materializeProperties": materialize}
    answers = [response_of(frame) for frame in asked(server, GRAPHBINARY, "", "eval", dict(arguments))]
    assert answers[0].id == ID
    for answer, frame in zip(answers, asked(server, GRAPHBINARY, "", "eval", dict(arguments)), strict=True):
        assert same_host(write_response(answer, GRAPHBINARY)) == same_host(frame)
    for kind in (GRAPHSON2, GRAPHSON3):
        for answer, frame in zip(answers, asked(server, kind, "", "eval", dict(arguments)), strict=True):
            assert without_host(json.loads(write_response(answer, kind))) == without_host(json.loads(frame))


def same_host(content: bytes) -> bytes:
    """Of whichever port the client had."""
    head, host, rest = content.partition(b"\x03\x00\x00\x00\x00\x04host\x03\x00")
    size = int.from_bytes(rest[:4])
    return head + host + rest[4 + size :]


def without_host(told: dict[str, Any]) -> dict[str, Any]:
    attributes = told["status"]["attributes"]
    found = (
        dict(zip(attributes["@value"][::2], attributes["@value"][1::2], strict=True)) if "@type" in attributes else attributes
    )
    assert found.pop("host", "/127.0.0.1:").startswith("/127.0.0.1:")
    return {**told, "status": {**told["status"], "attributes": found}}


@pytest.mark.lab
@pytest.mark.parametrize("kind", SERIALIZERS)
def test_responses_to_bytecodes_are_the_frames_of_a_gremlin_server(server: Server, kind: str) -> None:
    code = traversal.Bytecode()
    code.add_step("V")
    code.add_step("both")
    code.add_step("barrier")
    arguments = {"gremlin": code, "aliases": {"g": "gcrew"}}
    (answer,) = [response_of(frame) for frame in asked(server, GRAPHBINARY, "traversal", "bytecode", dict(arguments))]
    assert all(isinstance(one, Traverser) and one.value.properties for one in answer.data)
    assert max(one.bulk for one in answer.data) > 1
    (frame,) = asked(server, kind, "traversal", "bytecode", dict(arguments))
    told = write_response(answer, kind)
    if kind == GRAPHBINARY:
        assert same_host(told) == same_host(frame)
    else:
        assert without_host(json.loads(told)) == without_host(json.loads(frame))


@pytest.mark.lab
@pytest.mark.parametrize("kind", [GRAPHBINARY, GRAPHSON3, GRAPHSON2, UNTYPED1, UNTYPED2, UNTYPED3, JSON])
@pytest.mark.parametrize("script", SCRIPTS[:-1])
def test_responses_over_http_are_those_of_a_gremlin_server(server: Server, script: str, kind: str) -> None:
    answer = response_of(server.submit(script, "crew", accept=GRAPHBINARY)[1])
    status, told = server.submit(script, "crew", accept=kind)
    assert status == 200, told
    found = write_response(answer, kind)
    if kind == GRAPHBINARY:
        assert found[18:] == told[18:]  # but for the request's ID
    else:
        assert {**json.loads(found), "requestId": None} == {**told, "requestId": None}


def explained(told: Map) -> Explanation:
    stages = tuple(Stage(one["strategy"], one["category"], tuple(one["traversal"])) for one in told["intermediate"])
    return Explanation(tuple(told["original"]), stages, tuple(told["final"]))


@pytest.mark.lab
@pytest.mark.parametrize("kind", [GRAPHBINARY, GRAPHSON3, GRAPHSON2, UNTYPED1, UNTYPED2, UNTYPED3])
def test_explanations_are_those_of_a_gremlin_server(server: Server, kind: str) -> None:
    script = "g.V(1).out().explain()"
    answer = response_of(server.submit(script, accept=GRAPHBINARY)[1])
    found = write_response(Response(answer.id, 200, data=[explained(answer.data[0])]), kind)
    _, told = server.submit(script, accept=kind)
    if kind == GRAPHBINARY:
        assert found[18:] == told[18:]  # but for the request's ID
    else:
        assert {**json.loads(found), "requestId": None} == {**told, "requestId": None}


@pytest.mark.lab
def test_metrics_are_those_of_a_gremlin_server(server: Server) -> None:
    told = server.submit("g.V().where(out().in()).local(out()).profile()")[1]["result"]["data"]
    names = [[name for name in one["@value"]["@value"][::2] if isinstance(name, str)] for one in steps_of(told)]
    assert ["dur", "counts", "name", "annotations", "id", "metrics"] in names
    assert typed3(value_of(told)) == told


def steps_of(told: Any) -> Any:
    """The metrics of a traversal's steps, of GraphSON 3."""
    return told["@value"][0]["@value"]["@value"][3]["@value"]


@pytest.mark.lab
@pytest.mark.parametrize(
    "frame", [framed(GRAPHBINARY, b"\x01"), framed(GRAPHSON3, b"{"), "{", framed(GRAPHSON2, b'{"op": "eval"}')]
)
def test_a_gremlin_server_too_refuses_what_is_no_request(server: Server, frame: bytes | str) -> None:
    with pytest.raises(MessageError):
        read_request(frame)
    (told,) = asyncio.run(_exchange(server.ws, frame))
    response = Response(None, 499, "Invalid OpProcessor requested [null]")
    assert told in {write_response(response, kind) for kind in (GRAPHBINARY, GRAPHSON2, GRAPHSON3)}


@pytest.mark.lab
def test_a_text_frame_is_answered_as_json_by_a_gremlin_server_too(server: Server) -> None:
    arguments = {"gremlin": "g.V().count()", "language": "gremlin-lang", "aliases": {"g": "gmodern"}}
    told = json.dumps({"requestId": str(ID), "op": "eval", "args": arguments})
    (frame,) = asyncio.run(_exchange(server.ws, told))
    assert read_request(told)[0].arguments["gremlin"] == "g.V().count()"
    assert without_host(json.loads(frame)) == without_host(
        json.loads(write_response(Response(ID, 200, "", {"host": "/127.0.0.1:1"}, [Long(6)]), JSON))
    )

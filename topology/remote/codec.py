"""Reports as messages of the wire, and back. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from google.protobuf.message import DecodeError

from skytrail.wire import wire_pb2 as wire
from topology.elements import Metadata
from topology.facts import EdgeFact, Fact, NodeFact, Report, Source

_log = structlog.get_logger(__name__)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_SHOWN = 200  # characters of a fact that is refused


class MalformedReportError(ValueError):
    """Bytes that are no report."""


def encode_report(report: Report) -> bytes:
    """A report as bytes. A fact that JSON cannot say is left out, and logged."""
    source = report.source
    made = wire.Report(
        source=wire.Source(probe=source.probe, host=source.host, service=source.service, tid=source.tid),
        observed=report.observed,
        gone=report.gone,
        whole=report.whole,
        late=report.late,
    )
    for fact in report.facts:
        try:
            if isinstance(fact, NodeFact):
                made.nodes.append(_node(fact))
            else:
                made.edges.append(_edge(fact))
        except (TypeError, ValueError, OverflowError) as error:
            _log.error("fact_refused", probe=source.probe, fact=repr(fact)[:_SHOWN], error=str(error), remedy="report this")
    for id_, volatile in report.volatile.items():
        made.volatile[id_] = _encode(volatile)
    return made.SerializeToString()


def _node(fact: NodeFact) -> wire.Node:
    volatile = _encode(fact.volatile) if fact.volatile else b""
    return wire.Node(tid=fact.tid, metadata=_encode(fact.metadata), volatile=volatile, enriches=fact.enriches)


def _edge(fact: EdgeFact) -> wire.Edge:
    return wire.Edge(
        parent=fact.parent, child=fact.child, relation=fact.relation, metadata=_encode(fact.metadata), key=fact.key
    )


def decode_report(data: bytes) -> Report:
    """Give back what :func:`encode_report` was given; nodes stand before edges.

    Raises:
        MalformedReportError: it is something else.
    """
    try:
        made = wire.Report.FromString(data)
        nodes = (NodeFact(one.tid, _decode(one.metadata), _volatile(one.volatile), one.enriches) for one in made.nodes)
        edges = (EdgeFact(one.parent, one.child, one.relation, _decode(one.metadata), one.key) for one in made.edges)
        facts: tuple[Fact, ...] = (*nodes, *edges)
        volatile = {id_: _decode(raw) for id_, raw in made.volatile.items()}
    except RecursionError as error:
        raise MalformedReportError("it is nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, DecodeError) as error:
        raise MalformedReportError(str(error)) from error
    source = Source(made.source.probe, made.source.host, made.source.service, made.source.tid)
    if not source.probe:
        raise MalformedReportError("it has no source")
    return Report(source, made.observed, facts, tuple(made.gone), made.whole, volatile, made.late)


def _volatile(raw: bytes) -> Metadata:
    return _decode(raw) if raw else {}

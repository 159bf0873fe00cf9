"""How an answer is taken from an agent's side: in parts that fit a message, within its bounds, its failures as one line."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import structlog

from skytrail.asking.asker import Answer
from skytrail.asking.questions import Part, Question, encode_part
from skytrail.errors import RunError, SkytrailError

_log = structlog.get_logger(__name__)

LARGEST_PART = 1 << 20
"""Bytes of JSON that a part may have before it is cut in two; more where one item alone has them."""
LARGEST_ITEM = 8 << 20
"""Bytes of JSON that one item may have: half a message of the wire."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one answer may take.

    Attributes:
        seconds: from now on.
        most: bytes of its parts' JSON.
        unwanted: is set when nobody waits for it any more.
    """

    seconds: float
    most: int
    unwanted: threading.Event = field(default_factory=threading.Event)


def parts_of(answer: Answer, question: Question, bounds: Bounds) -> Iterator[tuple[Part, bytes]]:
    """The parts of an answer, and each as JSON; ends early where it is unwanted.

    Raises:
        RunError: why it is not whole, whatever went wrong.
    """
    try:
        yield from _bounded(answer(question), bounds)
    except SkytrailError as error:
        raise RunError(str(error)) from error
    except Exception as error:  # whatever it was, the connection goes on
        _log.error("question_failed", question=repr(question), error=str(error), exc_info=True)
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"failed to answer: {told}; see its log") from error


def _bounded(parts: Iterable[Part], bounds: Bounds) -> Iterator[tuple[Part, bytes]]:
    until, size = time.monotonic() + bounds.seconds, 0
    for whole in parts:
        for part, data in _cut(whole):
            if bounds.unwanted.is_set():
                return
            if time.monotonic() > until:
                raise RunError(f"did not answer within {bounds.seconds:g} s")
            size += len(data)
            if size > bounds.most:
                raise RunError(f"has more to answer than {bounds.most >> 20} MiB: ask for less, or set hub.ask_max")
            yield part, data


def _cut(part: Part) -> Iterator[tuple[Part, bytes]]:
    data = encode_part(part)
    if len(data) <= LARGEST_PART or len(part.found) < 2:
        if len(data) > LARGEST_ITEM:
            raise RunError(f"has an item of {len(data) >> 20} MiB to answer: {LARGEST_ITEM >> 20} MiB are allowed")
        yield part, data
        return
    middle = len(part.found) // 2
    for half in (part.found[:middle], part.found[middle:]):
        yield from _cut(Part(half, part.since))

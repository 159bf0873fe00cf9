"""Many netlink messages at once, as arrays: no Python object per attribute, and none per message.

All messages are walked side by side: step n looks at the n-th attribute of each of them. So it takes as many steps as the
longest message has attributes, whatever the number of messages. Pure: bytes to arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skytrail.kernel.netlink import Answer, NetlinkDecodeError

_ATTRIBUTE_BYTES = 4  # struct nlattr: len, type
_TYPE_MASK = 0x3FFF  # NLA_TYPE_MASK
_PADDING = bytes(256)  # a gather of a fixed size may reach beyond the last message; what it finds there is masked

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spans:
    """A range [start, end) of ``data`` per row; a row that has none (an attribute that is not there) is -1, -1."""

    data: NDArray[np.uint8]
    starts: Integers
    ends: Integers

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which rows have one."""
        return self.starts >= 0

    def numbers(self, dtype: str, offset: int = 0, *, absent: int = 0) -> NDArray[Any]:
        """A number of each row, in host order, ``offset`` bytes from its start; ``absent`` where it does not reach so far.

        Args:
            dtype: of numpy, without byte order (``u4``).
            offset: bytes.
            absent: for rows without it.
        """
        kind = np.dtype(dtype)
        enough = self.present & (self.ends - self.starts >= offset + kind.itemsize)
        found = self._gather(np.where(enough, self.starts + offset, 0), kind)
        found[~enough] = absent
        return found

    def headers(self, kind: np.dtype[Any]) -> NDArray[Any]:
        """The structure, of at most 256 bytes, that each row begins with.

        Raises:
            NetlinkDecodeError: a row is shorter than that.
        """
        return self._gather(self.after(kind.itemsize).starts - kind.itemsize, kind)

    def at(self, chosen: NDArray[Any]) -> Spans:
        """Some of the rows, by number or by a mask."""
        return Spans(self.data, self.starts[chosen], self.ends[chosen])

    def _gather(self, starts: Integers, kind: np.dtype[Any]) -> NDArray[Any]:
        found: NDArray[Any] = self.data[starts[:, None] + np.arange(kind.itemsize)].view(kind)[:, 0]
        return found

    def octets(self) -> list[bytes]:
        """The bytes of each row; empty where there are none."""
        whole = self.data.tobytes()
        return [
            whole[start:end] if start >= 0 else b"" for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        ]

    def texts(self) -> list[str]:
        r"""Each row as a C string; what is no UTF-8 is written as the topology writes it (``\xff``)."""
        return [value.partition(b"\0")[0].decode(errors="backslashreplace") for value in self.octets()]

    def after(self, size: int) -> Spans:
        """What follows a header of so many bytes.

        Raises:
            NetlinkDecodeError: a row is shorter than that.
        """
        if len(self) and int((self.ends - self.starts).min()) < size:
            raise NetlinkDecodeError(f"a netlink message is shorter than its header of {size} bytes")
        return Spans(self.data, self.starts + size, self.ends)

    def attributes(self, wanted: Collection[int]) -> dict[int, Spans]:
        """Find the wanted attributes in each row: type → their values. The last of several wins.

        Raises:
            NetlinkDecodeError: a length is less than its header or more than what is left.
        """
        count = len(self)
        found = {kind: (np.full(count, -1, np.int64), np.full(count, -1, np.int64)) for kind in wanted}
        row = np.flatnonzero(self.present)
        at, end = self.starts[row], self.ends[row]
        while True:
            more = end - at >= _ATTRIBUTE_BYTES
            if not more.all():
                row, at, end = row[more], at[more], end[more]
            if not len(row):
                break
            size = _u2(self.data, at)
            kinds = _u2(self.data, at + 2) & _TYPE_MASK
            wrong = (size < _ATTRIBUTE_BYTES) | (size > end - at)
            if wrong.any():
                first = int(np.flatnonzero(wrong)[0])
                raise NetlinkDecodeError(
                    f"netlink attribute at byte {at[first]} says {size[first]} bytes, {end[first] - at[first]} are there"
                )
            for kind in np.unique(kinds).tolist():
                if kind in found:
                    here = kinds == kind
                    starts, ends = found[kind]
                    starts[row[here]] = at[here] + _ATTRIBUTE_BYTES
                    ends[row[here]] = (at + size)[here]
            at = at + ((size + 3) & ~3)
        return {kind: Spans(self.data, *spans) for kind, spans in found.items()}


def rows(answers: Iterable[Answer]) -> tuple[Spans, Integers]:
    """The messages of several answers one behind the other, and which answer each of them is from."""
    data, starts, ends, part, base = [], [], [], [], 0
    for number, answer in enumerate(answers):
        data.append(answer.data)
        starts.append(np.asarray(answer.starts, np.int64) + base)
        ends.append(np.asarray(answer.ends, np.int64) + base)
        part.append(np.full(len(answer.starts), number, np.int64))
        base += len(answer.data)
    nothing = [np.zeros(0, np.int64)]
    whole = np.frombuffer(b"".join([*data, _PADDING]), np.uint8)
    return Spans(whole, np.concatenate(starts or nothing), np.concatenate(ends or nothing)), np.concatenate(part or nothing)


def _u2(data: NDArray[np.uint8], at: Integers) -> Integers:
    return _LITTLE[0] * data[at].astype(np.int64) + _LITTLE[1] * data[at + 1].astype(np.int64)


_LITTLE = (1, 256) if np.little_endian else (256, 1)

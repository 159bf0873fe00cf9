"""A store that answers from a snapshot, and takes no change."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from topology.elements import Revision
from topology.store.interface import Batch, Difference, Health, Retained, StoreError
from topology.store.traversal import Listed, Moment


class SnapshotStore:
    """The graph of one moment; of what was before or after, it knows what the revisions' own times say.

    Args:
        revisions: one of each element.
        size: bytes of the file.
    """

    shared = False

    def __init__(self, revisions: Sequence[Revision], size: int) -> None:
        self._revisions, self._size = revisions, size

    def lease(self, writer: str, holder: str, seconds: float) -> int:  # noqa: ARG002 - the interface's
        """Nobody writes here."""
        raise _refusal()

    def last_number(self, writer: str, epoch: int) -> int:  # noqa: ARG002
        """Nobody has written here."""
        return 0

    def apply(self, batch: Batch) -> int:  # noqa: ARG002
        """Nobody writes here."""
        raise _refusal()

    def changed_by_others(self, after: int) -> tuple[int, set[str]]:
        """Nobody writes here."""
        return after, set()

    def current(self) -> Iterator[Revision]:
        """All that is in the snapshot."""
        return iter(self._revisions)

    def moment(self, when: int | None = None) -> Moment:
        """The graph at a moment, or now, to be asked by a traversal."""
        return Listed(self.current() if when is None else self.as_of(when))

    def as_of(self, when: int, ids: Collection[str] | None = None) -> list[Revision]:
        """What of it was so at a moment."""
        return [one for one in self._of(ids) if one.updated_at <= when < one.archived_at]

    def between(self, begin: int, end: int, ids: Collection[str] | None = None) -> Iterator[Revision]:
        """What of it was so in a range of time, by when that began."""
        found = [one for one in self._of(ids) if one.updated_at <= end and one.archived_at > begin]
        return iter(sorted(found, key=lambda one: (one.updated_at, one.sequence)))

    def diff(self, first: int, second: int) -> Iterator[Difference]:
        """What was so at one of the two times only."""
        before, after = ({one.id: one for one in self.as_of(when)} for when in (first, second))
        for id_ in before.keys() ^ after.keys():
            yield Difference(id_, before.get(id_), after.get(id_))

    def feed(self, after: int, limit: int) -> list[Revision]:
        """What is in the snapshot, in its order."""
        return list(self._revisions[after : after + limit])

    def retain(self, before: int | None = None, size: int | None = None) -> Retained:  # noqa: ARG002
        """Nothing is forgotten."""
        return Retained(0, len(self._revisions))

    def resources(self, kind: str) -> dict[str, bytes]:  # noqa: ARG002
        """A snapshot has none."""
        return {}

    def put_resource(self, kind: str, id_: str, body: bytes | None) -> None:  # noqa: ARG002
        """Nothing is kept here."""
        raise _refusal()

    def health(self) -> Health:
        """Always well."""
        return Health(None, len(self._revisions), len(self._revisions), self._size, len(self._revisions))

    def close(self) -> None:
        """Nothing is held."""

    def _of(self, ids: Collection[str] | None) -> list[Revision]:
        return [one for one in self._revisions if ids is None or one.id in ids]


def _refusal() -> StoreError:
    return StoreError("a snapshot takes no changes: run 'skytrail up' for a graph that goes on")

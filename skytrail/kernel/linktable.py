"""The links of all followed namespaces, and the events that a change of them makes. Pure: no I/O, one thread."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from skytrail.kernel.linkmessages import Departure, Link
from skytrail.kernel.namespaces import Namespace

LinkKey = tuple[int, int]
"""(cookie of the namespace, ifindex)."""

Mark = tuple[str, bytes]
"""Kind and MAC of a link."""


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """A link is there, or is different from before: all that is known of it."""

    link: Link


@dataclass(frozen=True, slots=True)
class LinkGone:
    """A link is there no more; neither is it in another followed namespace, as far as is known."""

    cookie: int
    ifindex: int


@dataclass(frozen=True, slots=True)
class LinkMoved:
    """A link left ``old`` for another namespace.

    With ``new`` None its new place is not known yet: within seconds a second LinkMoved names it, or LinkGone ends it.
    A LinkChanged for the new place follows as soon as the kernel describes it there.
    """

    old: LinkKey
    new: LinkKey | None


@dataclass(frozen=True, slots=True)
class NamespaceFound:
    """A namespace is followed from now on, or its name changed; comes before the first event of its links."""

    namespace: Namespace


@dataclass(frozen=True, slots=True)
class NamespaceGone:
    """A namespace has died; its links were told gone before."""

    cookie: int


@dataclass(frozen=True, slots=True)
class Told:
    """A message of another kind from a followed namespace (``RTM_…``), for who asked for such."""

    cookie: int
    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class DumpBegan:
    """All that there is of that kind (``RTM_NEW…``) in a namespace is told from here on."""

    cookie: int
    kind: int


@dataclass(frozen=True, slots=True)
class DumpEnded:
    """All that there is of that kind has been told since :class:`DumpBegan`: what was not is not there."""

    cookie: int
    kind: int


@dataclass(frozen=True, slots=True)
class Resynced:
    """All that is there has been told: after the start, and after events were lost."""


Event = LinkChanged | LinkGone | LinkMoved | NamespaceFound | NamespaceGone | Told | DumpBegan | DumpEnded | Resynced


class LinkTable:
    """What is known of each link. Each method gives the events that it makes, in order."""

    def __init__(self) -> None:
        self._links: dict[int, dict[int, Link]] = {}
        self._unseen: dict[int, set[int]] = {}
        self._arriving: set[LinkKey] = set()
        self._told: set[LinkKey] = set()
        self._missing: dict[LinkKey, Link] = {}

    def links(self) -> list[Link]:
        """All links, by namespace."""
        return [link for links in self._links.values() for link in links.values()]

    def find(self, key: LinkKey) -> Link | None:
        """A link that is known."""
        return self._links.get(key[0], {}).get(key[1])

    def update(self, link: Link) -> list[Event]:
        """A link is as the kernel now says."""
        key = (link.cookie, link.ifindex)
        links = self._links.setdefault(link.cookie, {})
        known = links.get(link.ifindex) if link.ifindex in self._unseen.get(link.cookie, ()) else None
        if known is not None and is_another(known.kind, known.mac, known.name, link):
            return [*self.remove(key), *self.update(link)]
        self._unseen.get(link.cookie, set()).discard(link.ifindex)
        if links.get(link.ifindex) == link and key not in self._arriving:
            return []
        self._arriving.discard(key)
        links[link.ifindex] = link
        return [LinkChanged(link)]

    def remove(self, key: LinkKey) -> list[Event]:
        """A link is gone."""
        return [LinkGone(*key)] if self._pop(key) is not None else []

    def depart(self, key: LinkKey) -> Link | None:
        """A link leaves for another namespace; None if it was not known. Makes no event yet."""
        return self._pop(key)

    def arrive(self, link: Link, new: LinkKey) -> list[Event]:
        """A link that departed is at a place that is known; the kernel is going to describe it there."""
        self._links.setdefault(new[0], {})[new[1]] = replace(link, cookie=new[0], ifindex=new[1])
        self._arriving.add(new)
        return [LinkMoved((link.cookie, link.ifindex), new)]

    def begin(self, cookie: int) -> None:
        """A dump of this namespace begins: what it does not show by its end is gone."""
        self._unseen[cookie] = set(self._links.get(cookie, ()))

    def finish(self, cookie: int) -> list[Event]:
        """The dump of this namespace is complete."""
        events: list[Event] = []
        for ifindex in sorted(self._unseen.pop(cookie, ())):
            self._missing[cookie, ifindex] = self._links[cookie][ifindex]
            events += self.remove((cookie, ifindex))
        return events

    def tell(self, events: list[Event]) -> list[Event]:
        """What to tell of events that were collected: what dumps miss at one place and find at another has moved.

        So it is of those whose departure was among what was lost: one of the same kind and MAC, which no other has of those
        that are missing, or that are new.
        """
        if self._missing:
            dead = {event.cookie for event in events if isinstance(event, NamespaceGone)}
            explained = {key for event in events if isinstance(event, LinkMoved) for key in (event.old, event.new)}
            heard = {key for event in events if (key := _place(event)) and key[0] not in dead} - explained
            came = {key: link for key in heard - self._told if (link := self.find(key))}
            ends = Counter(_place(event) for event in events if isinstance(event, LinkGone))
            gone = {key for key in heard & self._told if ends[key] == 1}
            missing = {key: link for key, link in self._missing.items() if key in gone}
            self._missing.clear()
            events = _with_moves(events, moved(_marks(missing), _marks(came)))
        for event in events:
            self._note(event)
        return events

    def _note(self, event: Event) -> None:
        match event:
            case LinkChanged(link):
                self._told.add((link.cookie, link.ifindex))
            case LinkGone(cookie, ifindex):
                self._told.discard((cookie, ifindex))
            case LinkMoved(old, new):
                self._told.discard(old)
                if new is not None:
                    self._told.add(new)

    def drop(self, cookie: int) -> list[Event]:
        """A namespace has died, and its links with it."""
        events: list[Event] = []
        for ifindex in sorted(self._links.get(cookie, ())):
            events += self.remove((cookie, ifindex))
        self._links.pop(cookie, None)
        self._unseen.pop(cookie, None)
        return [*events, NamespaceGone(cookie)]

    def _pop(self, key: LinkKey) -> Link | None:
        cookie, ifindex = key
        self._arriving.discard(key)
        self._unseen.get(cookie, set()).discard(ifindex)
        return self._links.get(cookie, {}).pop(ifindex, None)


def moved(gone: Mapping[LinkKey, Mark], came: Mapping[LinkKey, Mark]) -> dict[LinkKey, LinkKey]:
    """Old place → new: what went and what came are one where kind and MAC are the same, and no other's. Not without a MAC."""
    were, are = _alone(gone), _alone(came)
    return {were[mark]: are[mark] for mark in were.keys() & are.keys()}


_STAYING = frozenset({"bridge", "bond", "team", "vrf"})
"""Kinds that never leave the namespace that they were made in (the kernel's netns_immutable); some have a port's MAC."""


def is_another(kind: str, mac: bytes, name: str, link: Link) -> bool:
    """Whether a link cannot be the one that had its ifindex when somebody last looked.

    The kernel gives no ifindex twice before all are used up; but a link brings its own from the namespace that it was made in,
    where that is free. Such a one has another MAC and another name, while one that stayed may have got one of them.
    """
    return kind != link.kind or (kind not in _STAYING and mac != link.mac and name != link.name)


def _alone(marks: Mapping[LinkKey, Mark]) -> dict[Mark, LinkKey]:
    times = Counter(marks.values())
    return {mark: key for key, mark in marks.items() if times[mark] == 1 and any(mark[1])}


def _marks(links: Mapping[LinkKey, Link]) -> dict[LinkKey, Mark]:
    return {key: (link.kind, link.mac) for key, link in links.items()}


def _place(event: Event) -> LinkKey | None:
    """The place that an event tells of, of a move the old one."""
    match event:
        case LinkChanged(link):
            return link.cookie, link.ifindex
        case LinkGone(cookie, ifindex):
            return cookie, ifindex
        case LinkMoved(old, _):
            return old
    return None


def _with_moves(events: list[Event], moves: dict[LinkKey, LinkKey]) -> list[Event]:
    """Each move in the place of the first event of either end; what else there was of the old one is left out."""
    left = {old: LinkMoved(old, new) for old, new in moves.items()}
    old_of = {new: old for old, new in moves.items()}
    ended: set[LinkKey] = set()
    found: list[Event] = []
    for event in events:
        place = _place(event)
        if place is not None and (move := left.pop(old_of.get(place, place), None)):
            found.append(move)
        if place not in moves or place in ended:
            found.append(event)
        elif isinstance(event, LinkGone):
            ended.add(place)
    return found


@dataclass(frozen=True, slots=True)
class _Move:
    """A link on its way; ``nsid`` is as its old namespace numbers the new one."""

    link: Link
    nsid: int
    new_ifindex: int
    deadline: float


class PendingMoves:
    """Links that went to a namespace which is not followed yet, oldest first.

    Args:
        patience: seconds until such a link is given up.
        limit: how many there can be; one more, and the oldest is given up.
    """

    def __init__(self, patience: float = 5.0, limit: int = 4096) -> None:
        self._patience = patience
        self._limit = limit
        self._moves: deque[_Move] = deque()

    @property
    def next_deadline(self) -> float | None:
        """When the oldest is given up; None: there is none."""
        return self._moves[0].deadline if self._moves else None

    def add(self, link: Link, departure: Departure, nsid: int, now: float) -> list[Event]:
        """A link departed to the namespace that its old one numbers ``nsid``, which we don't follow (yet)."""
        self._moves.append(_Move(link, nsid, departure.new_ifindex, now + self._patience))
        events: list[Event] = [LinkMoved((link.cookie, link.ifindex), None)]
        if len(self._moves) > self._limit:
            events.append(self._give_up())
        return events

    def resolve(self, table: LinkTable, cookie_behind: Callable[[int, int], int | None]) -> list[Event]:
        """Namespaces were found: see whose new place is known now, by (cookie of the old one, its number) → cookie."""
        events: list[Event] = []
        waiting, self._moves = self._moves, deque()
        for move in waiting:
            cookie = cookie_behind(move.link.cookie, move.nsid)
            if cookie is None:
                self._moves.append(move)
            else:
                events += table.arrive(move.link, (cookie, move.new_ifindex))
        return events

    def forget(self, key: LinkKey) -> None:
        """A link is there again where one left: whatever became of that one, its end must not be told of this."""
        if any((move.link.cookie, move.link.ifindex) == key for move in self._moves):
            self._moves = deque(move for move in self._moves if (move.link.cookie, move.link.ifindex) != key)

    def expire(self, now: float) -> list[Event]:
        """Give up the links whose new place did not become known in time."""
        events: list[Event] = []
        while self._moves and self._moves[0].deadline <= now:
            events.append(self._give_up())
        return events

    def _give_up(self) -> LinkGone:
        link = self._moves.popleft().link
        return LinkGone(link.cookie, link.ifindex)

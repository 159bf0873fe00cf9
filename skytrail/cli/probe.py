"""``skytrail probe``: one probe before your eyes, with no hub; or which probes there are."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from skytrail.cli.options import Session, common
from skytrail.errors import RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from skytrail.cli.probes import HostProbes
    from topology.facts import Fact, Report

_HOST = "host"
_SETTLED = 1.0  # seconds without news: all that is there was told
_PATIENCE = 5.0  # seconds that a source has to show itself, and news of it to end
_LOOK = 0.05  # seconds
_WAITING = 1000  # reports that wait to be printed
_COLOURS = {"+": "green", "-": "red", "~": "yellow"}
_WORDS = {"+": "added", "-": "removed", "~": "changed"}


@click.command()
@click.argument("name", required=False)
@click.option("--once", is_flag=True, help="End when all that is there was printed, not at Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@common
@click.pass_obj
def probe(session: Session, *, name: str | None, once: bool, as_json: bool) -> None:
    """Run one probe of this host and print its facts: + came, ~ changed, - went. Without NAME: list all probes.

    It needs no hub, and tells none.
    """
    session.start_logs()
    if name is None:
        _list(session, as_json=as_json)
        return
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    printer = _Printer(name, as_json=as_json)
    with _running(session, printer.take) as probes:
        try:
            _print(name, probes, printer, done, once=once)
        finally:
            printer.closed = True  # or the probes could not end


def _print(name: str, probes: HostProbes, printer: _Printer, done: threading.Event, *, once: bool) -> None:
    """Print until it is done, or, ``once``, all is told. Raises UsageError: no such probe; RunError: it sees nothing."""
    known = _states(probes)
    if name not in known:
        raise UsageError(f"there is no probe '{name}': {', '.join(sorted(known))}")
    began, latest = time.monotonic(), None
    while not done.is_set():
        told, now = printer.print_next(), time.monotonic()
        latest = now if told else latest
        if not once:
            continue
        if latest is not None and now - latest >= _SETTLED:
            return
        if now - began >= _PATIENCE:
            if latest is None:
                raise RunError(f"{name} sees nothing: {_states(probes)[name]}")
            return


def _list(session: Session, *, as_json: bool) -> None:
    """All probes, of which those with a source are given a while to see it."""
    from topology.probes.installed import installed  # noqa: PLC0415 - --help needs none of it

    packages = {one.name: one.package for one in installed(session.settings.topology.other_probes)}
    with _running(session, lambda _: None) as probes:
        time.sleep(2 * _SETTLED)
        states = _states(probes)
    width = max(map(len, states))
    for name, state in sorted(states.items()):
        package = packages.get(name, "skytrail")
        if as_json:
            click.echo(json.dumps({"Name": name, "Package": package, "State": state}))
        else:
            click.echo(f"{name:<{width}}  {package:<22}  {state}")


def _states(probes: HostProbes) -> dict[str, str]:
    """How each probe is, in a few words."""
    active = {_HOST: True, **probes.active()}
    waiting = probes.waiting()
    return {name: waiting.get(name) or ("active" if there else "its source is not here") for name, there in active.items()}


@contextlib.contextmanager
def _running(session: Session, report: Callable[[Report], object]) -> Iterator[HostProbes]:
    """All probes of this host, since one may need what another sees. TIDs are those that a running agent keeps."""
    from skytrail.cli.hub import clock  # noqa: PLC0415 - --help needs none of it
    from skytrail.cli.probes import HostProbes  # noqa: PLC0415
    from skytrail.kernel.host import read_host  # noqa: PLC0415
    from skytrail.kernel.tid_state import FILE, TidRegistry  # noqa: PLC0415
    from skytrail.runtimes.client import RuntimesClient  # noqa: PLC0415
    from skytrail.runtimes.endpoints import endpoints  # noqa: PLC0415
    from skytrail.tid import host_tid  # noqa: PLC0415

    settings, closers = session.settings, contextlib.ExitStack()
    with closers:
        host, folder = read_host(settings.host_id or ""), Path(closers.enter_context(tempfile.TemporaryDirectory()))
        for kept in Path(settings.state_dir).glob(f"{FILE}*"):
            shutil.copy(kept, folder)
        tids = TidRegistry(folder, host_tid(host.host_id), host.boot_id)
        closers.callback(tids.close)
        runtimes = RuntimesClient(endpoints(settings.containers.docker, settings.containers.cri))
        runtimes.start()
        closers.callback(runtimes.stop)
        own = msgspec.structs.replace(settings, state_dir=str(folder))  # what an agent keeps is its own
        probes = HostProbes(host, tids, lambda _: None, report, clock, own, runtimes)
        closers.callback(probes.stop)
        probes.start()
        yield probes


class _Printer:
    """Prints what one probe reports, on the thread that asks for it: a reader that goes away ends that one.

    Attributes:
        closed: nothing is printed any more, and who reports does not wait.
    """

    def __init__(self, name: str, *, as_json: bool) -> None:
        self._name, self._as_json = name, as_json
        self._known: dict[str, Fact] = {}
        self._reports: queue.Queue[Report] = queue.Queue(_WAITING)
        self.closed = False

    def take(self, report: Report) -> None:
        """Let it be printed; waits for room."""
        while report.source.probe == self._name and not self.closed:
            with contextlib.suppress(queue.Full):
                self._reports.put(report, timeout=_LOOK)
                return

    def print_next(self) -> bool:
        """Print what is news of the next report; whether there was one."""
        try:
            report = self._reports.get(timeout=_LOOK)
        except queue.Empty:
            return False
        facts = {fact.id: fact for fact in report.facts}
        gone = set(report.gone) | (self._known.keys() - facts.keys() if report.whole else set())
        for id_, fact in facts.items():
            before = self._known.get(id_)
            if before is None or _shown(before) != _shown(fact):
                self._print("+" if before is None else "~", fact)
        for id_ in gone & self._known.keys():
            self._print("-", self._known.pop(id_))
        self._known |= facts
        return True

    def _print(self, mark: str, fact: Fact) -> None:
        shown = _shown(fact)
        if self._as_json:
            click.echo(json.dumps({"Change": _WORDS[mark], **shown}, ensure_ascii=False))
            return
        ends = f"{shown['Parent']} → {shown['Child']} {shown['RelationType']}" if "Parent" in shown else shown["TID"]
        metadata = " ".join(f"{key}={_value(value)}" for key, value in shown["Metadata"].items())
        click.secho(f"{mark} {ends}  {metadata}".rstrip(), fg=_COLOURS[mark])


def _shown(fact: Fact) -> dict[str, Any]:
    """A fact as JSON; what is volatile is left out."""
    from topology.facts import EdgeFact  # noqa: PLC0415 - --help needs none of it

    if isinstance(fact, EdgeFact):
        ends = {"Parent": fact.parent, "Child": fact.child, "RelationType": fact.relation}
        return {"ID": fact.id, **ends, "Metadata": dict(fact.metadata)}
    return {"ID": fact.id, "TID": fact.tid, "Metadata": dict(fact.metadata), **({"Enriches": True} if fact.enriches else {})}


def _value(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value, ensure_ascii=True)

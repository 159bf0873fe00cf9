"""``skytrail check``: what this kernel and host offer, what is missing, what to do, and what the hooks cannot see."""

from __future__ import annotations

import importlib.util
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skytrail.cli.options import Session, common, settings_options

if TYPE_CHECKING:
    from exporters.bpf.features import Finding
    from skytrail.settings.tree import Settings

_MARKS = {"ok": "ok     ", "missing": "missing", "optional": "absent ", "unknown": "unknown", "note": "note   "}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object an item.")
@settings_options("flow.interfaces", "flow.netns", "agent.listen")
@common
@click.pass_obj
def check(session: Session, *, as_json: bool) -> None:
    """Say what this kernel and host offer, what is missing, and what to do. Exit status 1: the agent cannot run here."""
    session.start_logs()
    from exporters.bpf.features import examine  # noqa: PLC0415 - --help needs no kernel
    from skytrail.cli.checkcapabilities import capability_findings  # noqa: PLC0415
    from skytrail.cli.checkruntimes import runtime_findings  # noqa: PLC0415
    from skytrail.cli.checksecurity import security_findings  # noqa: PLC0415

    findings = [
        *examine(),
        *capability_findings(),
        *_host(session.settings),
        *_ovsdb(session.settings),
        *runtime_findings(session.settings.containers),
        *_kubernetes(session.settings),
        *_other_probes(session.settings),
        *security_findings(session.settings),
        *_interfaces(session.settings),
    ]
    for finding in findings:
        if as_json:
            click.echo(json.dumps(finding._asdict()))
        else:
            remedy = f"  -> {finding.remedy}" if finding.remedy and finding.state != "ok" else ""
            click.echo(f"{_MARKS[finding.state]}  {finding.name}: {finding.found}{remedy}")
    if any(finding.state == "missing" for finding in findings):
        click.get_current_context().exit(1)


def _ovsdb(settings: Settings) -> Iterator[Finding]:
    from exporters.bpf.features import Finding  # noqa: PLC0415

    for remote in settings.topology.ovsdb.databases:
        if remote.startswith("unix:") and not Path(remote.removeprefix("unix:")).exists():
            remedy = "set topology.ovsdb.databases, if there is one"
            yield Finding("Open vSwitch", "optional", f"no database at {remote}", remedy)
        elif importlib.util.find_spec("ovs") is None:
            yield Finding("Open vSwitch", "note", f"{remote} is not asked: no library", "pip install 'skytrail[ovs]'")
        else:
            yield Finding("Open vSwitch", "ok", f"its database is asked at {remote}", "")


def _kubernetes(settings: Settings) -> list[Finding]:
    from exporters.bpf.features import Finding  # noqa: PLC0415
    from topology.probes.kubernetes.connection import is_there  # noqa: PLC0415
    from topology.probes.kubernetes.examine import examine  # noqa: PLC0415

    found = []
    for name, place in settings.kubernetes.clusters.items():
        title = f"Kubernetes cluster {name}"
        if not is_there(place):
            found.append(Finding(title, "optional", f"not there ({place})", "set kubernetes.clusters, if there is one"))
        elif importlib.util.find_spec("kubernetes") is None:
            found.append(Finding(title, "note", f"{place} is not asked: no library", "pip install 'skytrail[kubernetes]'"))
        else:
            state, said, remedy = examine(place, settings.kubernetes.kinds)
            found.append(Finding(title, state, said, remedy))
    return found


def _other_probes(settings: Settings) -> list[Finding]:
    from exporters.bpf.features import Finding  # noqa: PLC0415
    from topology.probes.installed import installed  # noqa: PLC0415

    remedy = "upgrade or remove that package, or leave the probe out of topology.other_probes"
    return [
        Finding(f"probe {one.name}", "note" if one.failure else "ok", one.failure or f"of {one.package}", remedy)
        for one in installed(settings.topology.other_probes)
    ]


def _host(settings: Settings) -> list[Finding]:
    from exporters.bpf.features import Finding  # noqa: PLC0415
    from skytrail.errors import ListenError  # noqa: PLC0415
    from skytrail.http.server import check_exposure  # noqa: PLC0415

    found = []
    state_dir = Path(settings.state_dir)
    try:
        there = next(folder for folder in (state_dir, *state_dir.parents) if folder.exists())
        with tempfile.TemporaryFile(dir=there):
            found.append(Finding("state folder", "ok", f"{state_dir} can be {'written' if there == state_dir else 'made'}", ""))
    except OSError as error:
        remedy = "set state_dir; until then a renamed interface gets a new identity after a restart"
        found.append(Finding("state folder", "note", f"{state_dir}: {error.strerror}", remedy))
    listen = settings.agent.listen
    try:
        _, addresses = check_exposure(listen, settings.http)
        for address in addresses:
            with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as probe_socket:
                probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe_socket.bind(address)
        found.append(Finding("listen address", "ok", f"{listen} is free", ""))
    except ListenError as error:
        found.append(Finding("listen address", "missing", str(error), "change agent.listen"))
    except OSError as error:
        remedy = "an agent may run already; else set agent.listen"
        found.append(Finding("listen address", "note", f"{listen}: {error.strerror}", remedy))
    return found


def _interfaces(settings: Settings) -> list[Finding]:
    from exporters.bpf.features import Finding  # noqa: PLC0415
    from exporters.flows.choice import Choice, is_loopback  # noqa: PLC0415
    from skytrail.errors import SkytrailError  # noqa: PLC0415
    from skytrail.kernel.links import LinkWatcher  # noqa: PLC0415
    from skytrail.kernel.worker import NamespaceWorker  # noqa: PLC0415

    choice, worker = Choice(settings.flow.interfaces), NamespaceWorker()
    watcher = LinkWatcher(lambda _: None, worker, every_namespace=settings.flow.netns == "all")
    try:
        watcher.start()
        watcher.wait_synced(10)
        links = watcher.snapshot()
    except (OSError, SkytrailError) as error:
        return [Finding("interfaces", "unknown", str(error), "run as root")]
    finally:
        watcher.stop()
        worker.close()
    result = []
    for link in links:
        wanted = choice.wants(link)
        if wanted and link.up:
            state, found, remedy = "ok", "chosen", ""
        elif wanted:
            state, found, remedy = "note", "chosen, but down: captured once it is up", ""
        else:
            reason = "loopback: name it to capture it" if is_loopback(link) else "not chosen by flow.interfaces"
            state, found, remedy = "note", reason, ""
        result.append(Finding(f"interface {link.name}", state, found, remedy))
        if link.xdp:
            blind = "has an XDP program: what that drops or redirects, no hook of ours sees"
            result.append(Finding(f"interface {link.name}", "note", blind, "compare with the driver's own counters"))
    blind = "packets that a queueing discipline drops after our hook count as sent; what hardware forwards by itself does not"
    result.append(Finding("blind spots", "note", blind, "see docs/kernels.md"))
    return result

"""``skytrail pki``: a certificate authority for a small installation."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from skytrail.errors import NotSupportedError

if TYPE_CHECKING:
    from skytrail.pki import Authority

F = TypeVar("F", bound=Callable[..., object])

_FOLDER = "/etc/skytrail/pki"
_WITHIN_DAYS = 30

_folder = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=_FOLDER,
    show_default=True,
    help="The authority.",
)
_force = click.option("--force", is_flag=True, help="Overwrite what is there.")


def _lifetime(default: int) -> Callable[[F], F]:
    return click.option(
        "--days", type=click.IntRange(1, 36500), default=default, show_default=True, help="How long it is good."
    )


@click.group()
def pki() -> None:
    """Make and renew the certificates by which agents and hubs know each other.

    \b
    skytrail pki init               once, on a host that nobody but you reaches
    skytrail pki hub hub.example    names and addresses that agents and other hubs reach the hub by
    skytrail pki agent node1        the agent of one host, named as `hostname` says it
    skytrail pki server node1       HTTPS alone, of an agent or a hub

    Copy ca.crt with a certificate and its key to its host, and set wire.tls_ca, wire.tls_cert and wire.tls_key there.
    """  # noqa: D301 - \b is click's mark of lines to keep as they are


def _authority(folder: Path, *, force: bool = False) -> Authority:
    try:
        from skytrail.pki import Authority  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise NotSupportedError("skytrail pki needs a library", "pip install 'skytrail[wire]'") from error
    return Authority(folder, force=force)


def _made(path: Path) -> None:
    click.echo(f"{path}\n{path.with_suffix('.key')}")


@pki.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=_FOLDER)
@_lifetime(3650)
@_force
def init(folder: Path, days: int, *, force: bool) -> None:
    """Make an authority in FOLDER."""
    _made(_authority(folder, force=force).init(days))


@pki.command()
@click.argument("names", nargs=-1, required=True)
@_folder
@_lifetime(365)
@_force
def hub(names: tuple[str, ...], folder: Path, days: int, *, force: bool) -> None:
    """Make a hub's certificate for all its NAMES and addresses."""
    _made(_authority(folder, force=force).hub(names, days))


@pki.command()
@click.argument("names", nargs=-1, required=True)
@_folder
@_lifetime(365)
@_force
def server(names: tuple[str, ...], folder: Path, days: int, *, force: bool) -> None:
    """Make a certificate of HTTPS, which is good for nothing else, for all its NAMES and addresses."""
    _made(_authority(folder, force=force).server(names, days))


@pki.command()
@click.argument("host")
@click.argument("former", nargs=-1)
@_folder
@_lifetime(365)
@_force
def agent(host: str, former: tuple[str, ...], folder: Path, days: int, *, force: bool) -> None:
    """Make the certificate of the agent on HOST, which cannot report as another.

    FORMER are names that the host had before: what was reported by them goes on.
    """
    _made(_authority(folder, force=force).agent((host, *former), days))


@pki.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--within",
    type=click.IntRange(0),
    default=_WITHIN_DAYS,
    show_default=True,
    help="Without FILES: those that end so soon, days.",
)
@_folder
@_lifetime(365)
def renew(files: tuple[Path, ...], within: int, folder: Path, days: int) -> None:
    """Replace certificates, and their keys, by ones for the same names. Who uses them needs no restart."""
    authority = _authority(folder)
    for path in files or list(authority.ending(within * 86400.0)):
        authority.renew(path, days)
        _made(path)


@pki.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_folder
def revoke(file: Path, folder: Path) -> None:
    """Add the certificate FILE to the list of those that are no good any more, which hubs read by wire.tls_crl."""
    click.echo(_authority(folder).revoke(file))


@pki.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(file: Path, *, as_json: bool) -> None:
    """Say what a certificate says."""
    _authority(Path())
    from skytrail import pki as authority  # noqa: PLC0415 - an extra

    shown = authority.show(file)
    left = (shown.ends - dt.datetime.now(dt.UTC)).days
    told = {
        "use": shown.use,
        "names": ", ".join(shown.names) or "none",
        "subject": shown.subject,
        "issuer": shown.issuer,
        "begins": f"{shown.begins:%Y-%m-%dT%H:%M:%SZ}",
        "ends": f"{shown.ends:%Y-%m-%dT%H:%M:%SZ}",
        "days left": left,
        "serial": shown.serial,
        "sha256": shown.fingerprint,
    }
    if as_json:
        click.echo(json.dumps({**told, "names": list(shown.names)}))
        return
    for name, value in told.items():
        click.echo(f"{name + ':':<11}{value}")

"""``skytrail token``: a bearer token for HTTP, of which the server keeps but a hash."""

from __future__ import annotations

import os
from pathlib import Path

import click

from skytrail.cli.options import Session, common
from skytrail.errors import RunError

_ROLES = ("read", "capture", "admin")


@click.command()
@click.argument("name")
@click.option("--role", type=click.Choice(_ROLES), default="read", show_default=True, help="What it may do.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of tokens to add it to.  [default: http.token_file]",
)
@common
@click.pass_obj
def token(session: Session, name: str, role: str, file: Path | None) -> None:
    """Make a token for NAME (a person, a scraper), add its hash to the file of tokens, and print it: it is kept nowhere else.

    Servers that run use it at once; it is good until its line is removed from the file.
    """
    from skytrail.http.credentials import make_token, parse_tokens  # noqa: PLC0415 - heavy

    made = make_token(name, role)
    path = file or (Path(session.settings.http.token_file) if session.settings.http.token_file else None)
    if path is None:
        raise click.UsageError("name the file of tokens by --file, and set http.token_file to it")
    try:
        before = path.read_text("utf-8") if path.exists() else ""
        if any(one.name == name for one in (parse_tokens(before) if before.strip() else ())):
            raise RunError(f"{path}: there is a token of {name!r}: remove its line first, or choose another name")
        _append(path, ("" if before.endswith("\n") or not before else "\n") + made.line + "\n")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}: name another file by --file") from error
    except ValueError as error:
        raise RunError(f"{path}: {error}") from error
    click.echo(made.secret)


def _append(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as file:
        file.write(text)

"""``skytrail config`` and ``skytrail completion``: commands that only print."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from skytrail.cli.options import Session, common


@click.command()
@click.option("--reference", is_flag=True, help="Print every key with type, unit, default and reason, in Markdown.")
@click.option("--hash-password", is_flag=True, help="Ask for a password and print its hash for http.users_file.")
@common
@click.pass_obj
def config(session: Session, *, reference: bool, hash_password: bool) -> None:
    """Print the effective settings as YAML; what is secret is masked."""
    if reference and hash_password:
        raise click.UsageError("--reference and --hash-password exclude each other")
    if hash_password:
        click.echo(_hashed())
        return
    from skytrail.settings.reference import render_reference, render_yaml  # noqa: PLC0415 - heavy

    click.echo(render_reference() if reference else render_yaml(session.settings), nl=False)


def _hashed() -> str:
    """Hash what is typed without echo, twice, on a terminal; else the first line of standard input."""
    from skytrail.http.credentials import hash_password  # noqa: PLC0415 - heavy

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        try:
            password = sys.stdin.buffer.readline().decode().rstrip("\n")
        except UnicodeDecodeError:
            raise click.UsageError("the password on standard input is not UTF-8") from None
    if not password:
        raise click.UsageError("no password on standard input")
    return hash_password(password)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes skytrail's commands and options in SHELL.

    \b
    bash: skytrail completion bash > /etc/bash_completion.d/skytrail
    zsh:  skytrail completion zsh > "${fpath[1]}/_skytrail"
    fish: skytrail completion fish > ~/.config/fish/completions/skytrail.fish
    """  # noqa: D301 - \b is click's mark of lines to keep as they are
    script = get_completion_class(shell)
    assert script is not None, "click knows the shells named above"
    click.echo(script(context.find_root().command, {}, "skytrail", "_SKYTRAIL_COMPLETE").source())

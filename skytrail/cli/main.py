"""The command ``skytrail``: a table of commands, loaded when they run, and how errors end the process.

Exit status: 0 done, 1 failure, 2 usage, 3 and 4 what was found (`outcomes`), 130 interrupted, 141 whoever read our output
went away.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from gettext import gettext
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from skytrail import __version__
from skytrail.cli.options import Session, common
from skytrail.errors import LoadError, RunError, SkytrailError, UsageError

INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
READER_GONE = 141  # 128 + SIGPIPE
_OF_OUTPUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})
"""What writing to standard output fails with; any other error that names no file is none of the user's."""


class Command(NamedTuple):
    """Where a command is, and what it does in a few words; the words stand here so that --help imports nothing."""

    where: str
    help: str


COMMANDS = {
    "up": Command("skytrail.cli.agent:up", "Run everything in one process: what a newcomer starts."),
    "agent": Command("skytrail.cli.agent:agent", "Run the agent: flows to Prometheus and OpenTelemetry."),
    "flows": Command("skytrail.cli.flows:flows", "Show the flows of the running agent, or of a capture file."),
    "sockets": Command("skytrail.cli.sockets:sockets", "Show all sockets of this host and whose they are."),
    "trace": Command("skytrail.cli.trace:trace", "Follow a conversation to where its packets vanish."),
    "topology": Command("skytrail.cli.topology:topology", "Show what the network of this host is made of, now or then."),
    "diff": Command("skytrail.cli.topology:diff", "Show what changed between two moments."),
    "path": Command("skytrail.cli.path:path", "Show the way of packets from one place to another, now or then."),
    "probe": Command("skytrail.cli.probe:probe", "Run one probe and print what it sees, or list all probes."),
    "query": Command("skytrail.cli.query:query", "Ask the graph in Gremlin: of a running hub, or of a file."),
    "hub": Command("skytrail.cli.graphfile:hub", "Keep and serve the graph of many hosts, or serve that of a file."),
    "snapshot": Command("skytrail.cli.snapshot:snapshot", "Keep the graph of one moment in a file, or look at such a file."),
    "backup": Command("skytrail.cli.backup:backup", "Write the graph with its history to a file."),
    "restore": Command("skytrail.cli.backup:restore", "Bring a backup back."),
    "forget": Command("skytrail.cli.forget:forget", "End the graph of a host that is gone for good."),
    "check": Command("skytrail.cli.check:check", "Say what this kernel and host offer, and what is missing."),
    "config": Command("skytrail.cli.config:config", "Print the effective settings, or the reference of all keys."),
    "pki": Command("skytrail.cli.pki:pki", "Make, renew and revoke the certificates of agents and hubs."),
    "token": Command("skytrail.cli.token:token", "Make a bearer token for HTTP, with a role."),
    "lab": Command("skytrail.cli.lab:lab", "A network of hosts on this machine, to look at, to load and to break."),
    "cleanup": Command("skytrail.cli.cleanup:cleanup", "Remove what a killed agent may have left in the kernel."),
    "completion": Command("skytrail.cli.config:completion", "Print the completion script of a shell."),
}


class ReaderGoneError(Exception):
    """Whoever read our output closed it."""


class LazyGroup(click.Group):
    """A group whose commands are imported when one of them runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the table's order: what a newcomer needs first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].where.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table."""
        with formatter.section(gettext("Commands")):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; click itself would turn a closed pipe into exit status 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as exc:
            raise ReaderGoneError from exc

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name from the table, an option as every command does."""
        names = [CompletionItem(name, help=command.help) for name, command in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, "--version", prog_name="skytrail", message="%(prog)s %(version)s")
@common
@click.pass_context
def cli(context: click.Context) -> None:
    """See what runs through a network: every conversation, counted in the kernel.

    `skytrail up` starts; `skytrail flows` shows. Settings: `skytrail config --reference`.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(UsageError.exit_status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; errors are one line on standard error."""
    session = Session(os.environ)
    try:
        status = cli.main(args=argv, prog_name="skytrail", standalone_mode=False, obj=session)
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()
    except click.ClickException as exc:
        return _usage(exc)
    except SkytrailError as exc:
        return _failure(exc, session)
    except (click.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except (BrokenPipeError, ReaderGoneError):
        # Python flushes standard output once more when it ends: that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except OSError as exc:
        if exc.filename is None and exc.errno not in _OF_OUTPUT:
            return _defect(exc, session)
        status = _failure(RunError(f"{exc.filename or 'the output'}: {exc.strerror or exc}"), session)
    except Exception as exc:  # noqa: BLE001 - the last line of defence: one line instead of a traceback
        return _defect(exc, session)
    return status if isinstance(status, int) else 0


def _usage(exc: click.ClickException) -> int:
    """Say what was wrong with the arguments, and where help is."""
    context = getattr(exc, "ctx", None)
    hint = f"; see {context.command_path} --help" if isinstance(context, click.Context) else ""
    _complain(" ".join(exc.format_message().split()).rstrip(".") + hint)
    return exc.exit_code


def _failure(exc: SkytrailError, session: Session) -> int:
    if session.verbose:
        traceback.print_exception(exc)
    if isinstance(exc, LoadError) and exc.log:
        if session.verbose:
            sys.stderr.write(exc.log.rstrip("\n") + "\n")
        else:
            exc.add_note("-v shows the verifier's log")
    _complain("; ".join([str(exc), *getattr(exc, "__notes__", ())]))
    return exc.exit_status


def _defect(exc: Exception, session: Session) -> int:
    if session.verbose:
        traceback.print_exception(exc)
    more = "" if session.verbose else "; -v shows where, please report it"
    _complain(f"{type(exc).__name__}: {' '.join(str(exc).split()) or 'no message'}{more}")
    return 1


def _complain(message: str) -> None:
    sys.stderr.write(f"skytrail: error: {message}\n")

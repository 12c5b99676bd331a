"""The table of all commands, and the group that shows and loads them.

``commute --help`` and tab completion must answer at once, so they read the table alone; the runtime is imported by
the command that needs it.

Invariant: every command in the table is a click command of that module and attribute, and has a heading in
docs/cli.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from commute import __version__
from commute.cli.output import error_text
from commute.errors import CommuteError, NotReachableError, RejectedError, StoreError, UsageError

YES, NO, USAGE, UNREACHABLE, NOT_YET, STOPPED = 0, 1, 2, 3, 4, 130


class Command(NamedTuple):
    """Where a command is found, and what the help says of it."""

    module: str
    attribute: str
    section: str
    help: str


COMMANDS: Mapping[str, Command] = {
    "run": Command("run", "run", "Run", "Run a worker until a signal; Ctrl-C drains."),
    "publish": Command("publish", "publish", "Run", "Put events into the log: JSON, a file, or lines from stdin."),
    "status": Command("status", "status", "Run", "What is done, running, waiting and parked, and why."),
    "dead": Command("dead", "dead", "Run", "Dead letters: list, show, retry, skip, drop."),
    "bridge": Command("bridge", "bridge", "Run", "Store and forward: from one stream to another, in sequence."),
    "groups": Command("groups", "groups", "Run", "Who reads the stream: list, drop, release."),
    "demo": Command("demo", "demo", "Run", "A seeded shop, serially and in parallel; are both states equal?"),
    "analyze": Command(
        "analyze", "analyze", "Understand", "What of an event log depends on what, and how fast it could go."
    ),
    "advise": Command(
        "advise", "advise", "Understand", "What more workers would bring, and which change is worth most."
    ),
    "replay": Command("replay", "replay", "Understand", "Run an event log through the engine and judge the run."),
    "observe": Command("observe", "observe", "Verify", "What handlers touch while they run, as declarations."),
    "check": Command("check", "check_command", "Verify", "Try to refute what the footprints say."),
    "explain": Command("explain", "explain", "Understand", "Why types or events depend; what an event waits for."),
    "doctor": Command("doctor", "doctor", "Brokers", "What is right and wrong with a broker and its store."),
    "bench": Command("bench", "bench", "Brokers", "Measure a broker from this machine: publish, consume, latency."),
}

EPILOG = """Tab completion: add one line to your shell's start file.

\b
  bash   eval "$(_COMMUTE_COMPLETE=bash_source commute)"     ~/.bashrc
  zsh    eval "$(_COMMUTE_COMPLETE=zsh_source commute)"      ~/.zshrc
  fish   _COMMUTE_COMPLETE=fish_source commute | source      ~/.config/fish/completions/commute.fish
"""


class Commands(click.Group):
    """The commands of a table, in its sections and its sequence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        found = getattr(import_module(f"commute.cli.{entry.module}"), entry.attribute)
        assert isinstance(found, click.Command), f"{entry.module}.{entry.attribute} is no command"
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        like = get_close_matches(args[0], COMMANDS, 1) if args and args[0] not in COMMANDS else []
        if like and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {like[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items() if entry.section == section])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Command names out of the table, so that a press of Tab imports no command."""
        found = [
            CompletionItem(name, help=entry.help) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return found or click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CommuteError as error:
            click.echo(error_text(error, sys.stderr), err=True)
            ctx.exit(status_of(error))
        except (KeyboardInterrupt, click.Abort):
            click.echo("stopped", err=True)
            ctx.exit(STOPPED)


def status_of(error: CommuteError) -> int:
    """The exit status that an error ends the command with."""
    if isinstance(error, StoreError | NotReachableError):
        return UNREACHABLE
    return USAGE if isinstance(error, UsageError | RejectedError) else NO


def make_main() -> click.Group:
    """The command ``commute``."""
    main = Commands(
        "commute",
        help="Process events both fast and in the right order: independent ones in parallel, dependent ones in log "
        "order.\n\nTARGET is MODULE:APP (shop:app is app in shop.py); without it $COMMUTE_APP counts, then app under "
        "[tool.commute] in pyproject.toml. Begin with: commute demo",
        epilog=EPILOG,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
        no_args_is_help=True,
    )
    return click.version_option(__version__, message="commute %(version)s")(main)

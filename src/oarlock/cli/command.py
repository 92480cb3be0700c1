"""The command group, and how failures leave it: one sentence on standard error and an exit status."""

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from oarlock import __compiled__, __version__
from oarlock.errors import OarlockError, StartupError

EXIT_FAILED = 1
EXIT_CANNOT_START = 2
EXIT_INTERRUPTED = 130

COMMANDS = {
    "add": "add",
    "backup": "backup",
    "check": "check_history",
    "init": "init",
    "inspect": "inspect",
    "local": "local",
    "members": "members",
    "move": "move",
    "recover": "recover",
    "rejoin": "rejoin",
    "remove": "remove",
    "replace": "replace",
    "restore": "restore",
    "serve": "serve",
    "simulate": "simulate",
    "snapshot": "snapshot",
    "status": "status",
    "transfer": "transfer",
}
"""Each stands in the module of its name, under this one."""


class Commands(click.Group):
    """Imports a command when it is asked for: a replica that starts has no use for a simulator."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"oarlock.cli.{cmd_name}"), COMMANDS[cmd_name])
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message=f"oarlock %(version)s ({'compiled' if __compiled__ else 'interpreted'})")
def oarlock() -> None:
    """A replicated key-value store that Redis clients speak to.

    \b
    To try it here, three replicas on this machine:
        oarlock local
        redis-cli -p 6401 set greeting hello
    \b
    To run it for real, on each of three machines (with its own id):
        oarlock init --data-dir /var/lib/oarlock --id 1 \\
            --members 1=10.0.0.1:7401,2=10.0.0.2:7401,3=10.0.0.3:7401
        oarlock serve --data-dir /var/lib/oarlock
    \b
    To look after it, from anywhere:
        oarlock status --at 10.0.0.1:8401

    Any replica serves any request. A write is acknowledged once a majority has it on disk.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. ``arguments`` defaults to the process's own."""
    try:
        status = oarlock.main(args=arguments, prog_name="oarlock", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as missing:
        click.echo(missing.format_message())
        return EXIT_CANNOT_START
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "oarlock"
        _complain(f"{path}: {_sentence(error.format_message())} See `{path} --help`.")
        return EXIT_CANNOT_START
    except click.ClickException as error:
        _complain(f"oarlock: {_sentence(error.format_message())}")
        return EXIT_FAILED
    except StartupError as error:
        _complain(f"oarlock: {_sentence(str(error))}")
        return EXIT_CANNOT_START
    except (OarlockError, OSError) as error:
        _complain(f"oarlock: {_sentence(str(error))}")
        return EXIT_FAILED
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else text + "."


def _complain(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)

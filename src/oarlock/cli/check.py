"""``oarlock check``: is a recorded history linearizable?"""

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from oarlock.testing.history import BadHistory, read_history
from oarlock.testing.linearizability import DEFAULT_BUDGET, Verdict, check
from oarlock.testing.models import MODELS
from oarlock.testing.operation import describe
from oarlock.testing.report import remove_html, write_html
from oarlock.testing.values import plain

EXIT_STATUS = {"linearizable": 0, "illegal": 1, "undecided": 3}
"""2, as everywhere, says that the input or the command line makes no sense."""

EXIT_UNJUDGED = 70
"""The check itself failed. Elsewhere that is 1, which here would be a verdict."""

LONG = 10_000
"""Operations from which on it is worth saying how far it is."""


@click.command(name="check", short_help="Judge whether a recorded history is linearizable.")
@click.argument("history", metavar="HISTORY.jsonl", type=click.File("rb"))
@click.option("--model", "name", type=click.Choice(list(MODELS)), required=True, help="What each key is.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="OUT",
    help="If it is not linearizable, write a page here that shows why; if it is, remove an earlier one.",
)
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    metavar="STEPS",
    default=DEFAULT_BUDGET,
    show_default=True,
    help="Give up after so many steps of the search.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def check_history(history: BinaryIO, name: str, html: Path | None, budget: int, as_json: bool) -> int:
    """Judge whether a recorded history is linearizable: whether a single copy could have given these answers, each
    at one moment between the call and its return.

    \b
    The history has a JSON object a line, in the order of real time; - reads standard input:
        {"process": 3, "type": "invoke", "f": "write", "key": "k", "value": 1}
        {"process": 3, "type": "ok", "f": "write"}
        {"process": 4, "type": "invoke", "f": "read", "key": "k"}
        {"process": 4, "type": "ok", "f": "read", "value": 1}
    "fail" says that it did not happen, "info" that nobody knows.

    \b
    Example:
        oarlock check history.jsonl --model kv --html violation.html

    Prints one line. Exit status: 0 linearizable, 1 not linearizable, 2 the input makes no sense, 3 undecided within
    the budget, which is no pass, 70 the check itself failed, so that there is no verdict.
    """
    try:
        return _judge(history, name, html, budget, as_json)
    except click.ClickException:
        raise
    except MemoryError:
        click.echo("oarlock check: there is not enough memory to judge this history; nothing is decided.", err=True)
    except OSError as error:
        click.echo(f"oarlock check: {error.strerror or error}; nothing is decided.", err=True)
    except Exception:
        traceback.print_exc()
        click.echo("oarlock check: this is a bug in the check itself; nothing is decided.", err=True)
    return EXIT_UNJUDGED


def _judge(history: BinaryIO, name: str, html: Path | None, budget: int, as_json: bool) -> int:
    model = MODELS[name]
    try:
        operations = read_history(history, model)
    except BadHistory as error:
        raise click.UsageError(f"{history.name}, {error}.") from error
    verdict = check(operations, model, budget=budget, progress=_progress(len(operations)))
    if html is not None:
        try:
            if verdict.outcome == "illegal":
                write_html(verdict, html)
            else:
                remove_html(html)
        except OSError as error:
            done = "written to" if verdict.outcome == "illegal" else "removed from"
            click.echo(f"oarlock check: the page cannot be {done} {html} ({error.strerror}).", err=True)
    click.echo(_as_json(verdict) if as_json else verdict.sentence)
    return EXIT_STATUS[verdict.outcome]


def _progress(operations: int) -> Callable[[int, int], None]:
    """Tells people how far it is, and nobody else."""
    if operations < LONG or not sys.stderr.isatty():
        return lambda judged, total: None
    said = -1

    def say(judged: int, total: int) -> None:
        nonlocal said
        if (percent := 100 * judged // total) > said:
            said = percent
            click.echo(f"\r{judged:,} of {total:,} operations judged", nl=judged == total, err=True)

    return say


def _as_json(verdict: Verdict) -> str:
    about = {
        "outcome": verdict.outcome,
        "model": verdict.model,
        "key": plain(verdict.key),
        "sentence": verdict.sentence,
        "steps": verdict.steps,
        "operation": verdict.culprit
        and {
            "line": int(verdict.culprit.invoked),
            "process": verdict.culprit.process,
            "description": describe(verdict.culprit),
        },
    }
    return msgspec.json.encode(about).decode()

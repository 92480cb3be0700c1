"""``oarlock simulate``: whole clusters in a simulated world of faults, seed after seed."""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from oarlock.cli import parameters

if TYPE_CHECKING:
    from oarlock.testing.simulation.campaign import Totals
    from oarlock.testing.simulation.run import Plan, Verdict

EXIT_FAILED = 1
DEFAULT_SEEDS = (0, 99)
PROFILES = ("calm", "network", "process", "storage", "clocks", "members", "mixed")


@click.command(short_help="Run simulated clusters under faults, and judge them.")
@click.option("--seeds", type=parameters.span, metavar="FIRST..LAST", help="Which runs.  [default: 0..99]")
@click.option("--seed", type=click.IntRange(min=0), help="This run only.")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True, help="At a time.")
@click.option(
    "--replicas", type=parameters.span, metavar="N or N..M", default="3..5", show_default=True, help="Of each cluster."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0.05), default=1 / 3, help="Virtual time of each run.  [default: 20 seconds]"
)
@click.option("--profile", type=click.Choice(PROFILES), help="Which faults.  [default: each seed chooses]")
@click.option("--trace", is_flag=True, help="With --seed: tell the run as a story.")
@click.option("--shrink", is_flag=True, help="Of the first run that fails: find the fewest faults that it takes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each run, on standard output.")
def simulate(
    seeds: tuple[int, int] | None,
    seed: int | None,
    jobs: int,
    replicas: tuple[int, int],
    minutes: float,
    profile: str | None,
    trace: bool,
    shrink: bool,
    as_json: bool,
) -> int:
    """Run clusters of the key-value store in a simulated world: the program itself in virtual time, with a network,
    disks, clocks and processes that fail as the seed has it, and clients that use it all the while.

    A run fails if any promise is broken: an acknowledged write lost, a read that is not linearizable, a command
    executed that was said not to be, replicas that differ, an invariant of Raft, a deadline; or if the cluster does not
    come to rest when everything works again. A run that did little fails as vacuous. Exit status 1 if any run fails.

    \b
    Examples:
        oarlock simulate --seeds 0..999
        oarlock simulate --seed 17 --trace          tell what happened
        oarlock simulate --seed 17 --shrink         which faults it takes
    """
    from oarlock.testing.simulation.campaign import Totals, WorkerDied, carry_out, plan_of

    if seed is not None and seeds is not None:
        raise click.UsageError("--seed is one run, --seeds are many: give one of them.")
    if trace and seed is None:
        raise click.UsageError("--trace tells one run: say which with --seed.")
    if replicas[0] < 1 or replicas[1] > 9:
        raise click.UsageError("--replicas: from 1 to 9.")
    if not math.isfinite(minutes):
        raise click.UsageError("--minutes: a run must end.")
    first, last = (seed, seed) if seed is not None else seeds or DEFAULT_SEEDS
    plans = [plan_of(number, profile, replicas, minutes * 60) for number in range(first, last + 1)]
    totals = Totals()
    if trace:
        _tell(plans[0], totals, as_json)
    else:
        try:
            with click.progressbar(
                carry_out(plans, min(jobs, len(plans))),
                length=len(plans),
                label="Runs",
                file=sys.stderr,
                item_show_func=lambda _: f"{totals.failed + totals.vacuous} failed" if totals.runs else None,
            ) as verdicts:
                for verdict in verdicts:
                    totals.add(verdict)
                    if as_json:
                        click.echo(_json(verdict))
        except WorkerDied as died:
            raise click.ClickException(str(died)) from None
    if not as_json:
        _summary(totals)
    if totals.first_failure is not None and shrink:
        _shrink(plans[totals.first_failure.seed - first], totals.first_failure, as_json)
    return EXIT_FAILED if totals.failed or totals.vacuous else 0


def _tell(plan: Plan, totals: Totals, as_json: bool) -> None:
    from oarlock.testing.simulation.campaign import carried_out
    from oarlock.testing.simulation.run import planned_faults

    out = sys.stderr if as_json else sys.stdout
    print(f"seed {plan.seed}: profile {plan.profile}, {plan.replicas} replicas, {plan.seconds:g} s; faults:", file=out)
    for fault in planned_faults(plan):
        print(f"  {fault}", file=out)
    verdict = carried_out(plan, keep_story=True)
    for line in verdict.story:
        print(line, file=out)
    totals.add(verdict)
    if as_json:
        click.echo(_json(verdict))


def _json(verdict: Verdict) -> str:
    fields = {name: getattr(verdict, name) for name in verdict.__struct_fields__ if name not in ("schedule", "story")}
    return msgspec.json.encode(fields).decode()


def _summary(totals: Totals) -> None:
    click.echo(
        f"{totals.runs} runs, {totals.failed} failed, {totals.vacuous} vacuous; "
        f"{totals.virtual_seconds / 60:,.1f} virtual minutes in {totals.cpu_seconds:,.1f} s of CPU\n"
        f"{totals.operations:,} operations acknowledged ({totals.reads_verified:,} of them reads), "
        f"{totals.refused:,} not executed, {totals.unknown:,} unknown; {totals.elections:,} elections"
    )
    for kind, count in sorted(totals.faults.items(), key=lambda item: -item[1]):
        click.echo(f"  {count:9,}  {kind}")
    failure = totals.first_failure
    if failure is not None:
        click.echo(
            f"The first to fail is seed {failure.seed} (profile {failure.profile}, {failure.replicas} replicas): "
            f"{(failure.violations or [failure.vacuous])[0]}\n"
            f"Tell it with: oarlock simulate --seed {failure.seed} --trace (and the same other options)"
        )


def _shrink(plan: Plan, verdict: Verdict, as_json: bool) -> None:
    from oarlock.testing.simulation.campaign import carried_out
    from oarlock.testing.simulation.shrink import shrunk

    if not verdict.violations:
        return
    fewest = shrunk(
        plan, verdict, carried_out, lambda tries, left: click.echo(f"\r{tries} tries, {left} faults", sys.stderr, False)
    )
    click.echo("", sys.stderr)
    last = carried_out(fewest)
    out = sys.stderr if as_json else sys.stdout  # where objects are expected, there is nothing else
    print(f"It takes {len(last.schedule)} of {len(verdict.schedule)} faults: {last.violations[0]}", file=out)
    for fault in last.schedule:
        print(f"  {fault}", file=out)

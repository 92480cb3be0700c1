"""The command: hunts the planted bugs, two at a time, and prints a line for each.

python -m mutants                       # all of them, up to 60 simulated runs each
python -m mutants vote len --seeds 200  # those whose names contain one of these
python -m mutants --list
"""

import argparse
import sys

from mutants.bug import Bug
from mutants.bugs import BUGS
from mutants.hunting import hunt
from mutants.worker import Job, Report

HEALTHY = Bug(name="healthy", rule="Nothing is planted.", edits=())


def main() -> int:
    """Exit status 0 if every bug was caught, 1 if one survived, 2 for wrong arguments or a bug that is none."""
    parser = argparse.ArgumentParser(prog="mutants", description="Plant bugs, and see what catches them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only those whose names contain one of these")
    parser.add_argument("--seeds", type=int, default=60, help="simulated runs without a catch after which it survives")
    parser.add_argument("--first-seed", type=int, default=1, help="another one tries other runs")
    parser.add_argument("--jobs", type=int, default=2, help="how many bugs are hunted at a time")
    parser.add_argument("--profile", default="", help="runs of this profile only")
    parser.add_argument("--no-scripts", action="store_true", help="go without the scripts: measure the simulator alone")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument("--markdown", action="store_true", help="print the result as a table for the documentation")
    arguments = parser.parse_args()
    chosen = [bug for bug in BUGS if not arguments.names or any(name in bug.name for name in arguments.names)]
    if not chosen:
        parser.error(f"no bug is named so; there are: {', '.join(bug.name for bug in BUGS)}")
    if arguments.list:
        for bug in chosen:
            print(f"{bug.name:<36} {bug.rule}")
        return 0
    jobs = [
        Job(bug, arguments.seeds, not arguments.no_scripts, arguments.first_seed, arguments.profile) for bug in chosen
    ]
    (healthy,) = hunt([Job(HEALTHY, 0)], 1, lambda bug, report: None)
    if healthy.outcome != "survived":
        print(f"no bug is planted, and {healthy.by} fails: {healthy.what}", file=sys.stderr)
        return 2
    progress = sys.stderr if arguments.markdown else sys.stdout
    print(f"{'bug':<36}{'':<10}{'runs':>5}{'CPU s':>8}  by", file=progress)

    def show(bug: Bug, report: Report) -> None:
        print(line(bug, report), file=progress, flush=True)

    reports = hunt(jobs, arguments.jobs, show)
    if arguments.markdown:
        print(markdown(chosen, reports))
    outcomes = [report.outcome for report in reports]
    print(
        f"{len(outcomes)} bugs: {outcomes.count('caught')} caught, {outcomes.count('stalled')} by what they stall, "
        f"{outcomes.count('survived')} survived, {outcomes.count('faulty')} faulty",
        file=progress,
    )
    return 2 if "faulty" in outcomes else 1 if "survived" in outcomes else 0


def line(bug: Bug, report: Report) -> str:
    """The result of one hunt, for people."""
    outcome = report.outcome if report.outcome in ("caught", "stalled") else report.outcome.upper()
    what = f"{report.by}: {report.what}" if report.what else report.by
    return f"{bug.name:<36}{outcome:<10}{report.runs:>5}{report.cpu_seconds:>8.1f}  {what:.160}"


def markdown(bugs: list[Bug], reports: list[Report]) -> str:
    """The results as a table."""
    rows = ["| bug | the rule it breaks | caught by | runs | CPU s |", "|---|---|---|--:|--:|"]
    for bug, report in zip(bugs, reports, strict=True):
        by = report.by if report.outcome == "caught" else f"{report.by} ({report.outcome})".strip()
        runs = str(report.runs) if report.runs else ""
        rows.append(f"| `{bug.name}` | {bug.rule} | {by} | {runs} | {report.cpu_seconds:.1f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())

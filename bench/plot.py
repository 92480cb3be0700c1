"""``make plots``: the pictures of docs/performance.md, from what the benches wrote with ``--json FILE``.

make bench ARGS="--json redis.json"
make bench-reads ARGS="--json reads.json"
make bench-shares ARGS="--json shares.json"
make soak ARGS="--json soak.json"
make plots ARGS="--redis redis.json --reads reads.json --shares shares.json --soak soak.json"
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

DOCS = Path(__file__).parent.parent / "docs"
COLOURS = ("#2f6f9f", "#b0b0b0")
BAR = 0.38
SOAK_GROUP = 5
"""Seconds of a soak that make one point."""
SOAK_WAITS = (
    ("set", "SET", "#2f6f9f"),
    ("get", "GET", "#6fa8cf"),
    ("ping", "PING", "#c0504d"),
    ("idle", "of a process that does nothing", "#b0b0b0"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="make plots"
    )
    parser.add_argument("--redis", type=Path, metavar="FILE", help="what make bench measured")
    parser.add_argument("--reads", type=Path, metavar="FILE", help="what make bench-reads measured")
    parser.add_argument("--shares", type=Path, metavar="FILE", help="what make bench-shares measured")
    parser.add_argument("--soak", type=Path, metavar="FILE", help="what make soak saw")
    options = parser.parse_args()
    if not any(vars(options).values()):
        parser.error("say what to plot: --redis FILE, --reads FILE, --shares FILE, --soak FILE, or several")
    # Text stays text, and a picture of the same figures is the same file.
    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "oarlock", "font.size": 10})
    if options.redis is not None:
        compare(options.redis, ("oarlock", "redis"), "Three replicas against one Redis that syncs every write", "redis")
    if options.reads is not None:
        compare(options.reads, ("verified", "unverified"), "GETs, verified by a round and not", "reads")
    if options.shares is not None:
        stack(options.shares)
    if options.soak is not None:
        draw_soak(options.soak)


def compare(measured: Path, servers: tuple[str, str], title: str, name: str) -> None:
    """One panel for each pipeline depth, since their rates are far apart: two bars for each command, with the range,
    and the ratio above them."""
    rows: list[dict[str, Any]] = json.loads(measured.read_text())
    depths = sorted({row["pipeline"] for row in rows})
    figure, panels = pyplot.subplots(1, len(depths), figsize=(3.6 * len(depths), 3.4), squeeze=False)
    for panel, depth in zip(panels[0], depths, strict=True):
        commands = sorted({row["command"] for row in rows if row["pipeline"] == depth}, reverse=True)
        for position, command in enumerate(commands):
            medians, highest = [], 0.0
            for side, server in enumerate(servers):
                rates = [
                    row["rate"] / 1000
                    for row in rows
                    if (row["command"], row["pipeline"], row["server"]) == (command, depth, server)
                ]
                middle = statistics.median(rates)
                medians.append(middle)
                highest = max(highest, *rates)
                panel.bar(
                    position + (side - 0.5) * BAR,
                    middle,
                    BAR,
                    yerr=[[middle - min(rates)], [max(rates) - middle]],
                    color=COLOURS[side],
                    ecolor="#404040",
                    capsize=3,
                    label=server if position == 0 else None,
                )
            panel.text(position, highest * 1.04, f"× {medians[0] / medians[1]:.2f}", ha="center")
        panel.set_xticks(range(len(commands)), commands)
        panel.set_xlim(-0.7, len(commands) - 0.3)
        panel.set_ylim(0, panel.get_ylim()[1] * 1.12)
        panel.set_title("no pipelines" if depth == 1 else f"pipelines of {depth}", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("thousand requests a second")
    panels[0][0].legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.1), ncols=2)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    figure.savefig(DOCS / f"{name}.svg", metadata={"Date": None})


def stack(measured: Path) -> None:
    """For each pipeline depth a panel, with a bar for each command and role that is stacked of what takes its time."""
    rows: list[dict[str, Any]] = json.loads(measured.read_text())
    parts = sorted({part for row in rows for part in row["parts"]} - {"interpreter lock"})
    palette = pyplot.get_cmap("tab20").colors
    depths = sorted({row["pipeline"] for row in rows})
    figure, panels = pyplot.subplots(1, len(depths), figsize=(4.4 * len(depths), 4.2), squeeze=False)
    for panel, depth in zip(panels[0], depths, strict=True):
        bars = [row for row in rows if row["pipeline"] == depth]
        for position, row in enumerate(bars):
            bottom = 0.0
            for part, colour in zip(parts, palette, strict=False):
                micros = row["parts"].get(part, 0.0)
                panel.bar(position, micros, 0.7, bottom, color=colour, label=part if position == 0 else None)
                bottom += micros
            panel.text(position, bottom * 1.01, f"{bottom:.1f}", ha="center", va="bottom")
        panel.set_xticks(range(len(bars)), [f"{row['command']}\n{row['role']}" for row in bars])
        panel.set_title("no pipelines" if depth == 1 else f"pipelines of {depth}", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("µs of processor time a command")
    figure.legend(*panels[0][0].get_legend_handles_labels(), frameon=False, loc="lower center", ncols=4, fontsize=8)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(DOCS / "shares.svg", metadata={"Date": None})


def draw_soak(seen: Path) -> None:
    """Memory, disk and waits over time, and the seconds in which a snapshot was being written. A point is the most of
    some seconds."""
    seconds: list[dict[str, Any]] = json.loads(seen.read_text())["seconds"]
    groups = [seconds[start : start + SOAK_GROUP] for start in range(0, len(seconds), SOAK_GROUP)]
    minutes = [(group[0]["at"] - seconds[0]["at"]) / 60 for group in groups]
    figure, panels = pyplot.subplots(3, 1, figsize=(8, 6.4), sharex=True, height_ratios=(1, 1, 1.6))
    for panel, of, label in ((panels[0], "resident", "memory, MiB"), (panels[1], "disk", "disk, MiB")):
        for replica in range(len(seconds[0][of])):
            most = [max(second[of][replica] for second in group) / 2**20 for group in groups]
            panel.plot(
                minutes, most, linewidth=1, color=pyplot.get_cmap("tab10")(replica), label=f"replica {replica + 1}"
            )
        panel.set_ylim(0)
        panel.set_ylabel(label)
    panels[0].legend(frameon=False, ncols=3, fontsize=8, loc="lower right")
    for kind, label, colour in SOAK_WAITS:
        waits = [max(second["waits_us"][kind]["max"] for second in group) / 1000 for group in groups]
        panels[2].plot(minutes, [max(wait, 0.01) for wait in waits], linewidth=1, color=colour, label=label)
    panels[2].set_yscale("log")
    panels[2].set_ylabel("longest wait, ms")
    panels[2].set_xlabel("minutes; shaded: a snapshot is being written")
    panels[2].legend(frameon=False, ncols=4, fontsize=8, loc="lower right")
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        for minute, group in zip(minutes, groups, strict=True):
            if any(second["writing"] for second in group):
                panel.axvspan(minute, minute + SOAK_GROUP / 60, color="#00000018", linewidth=0)
    figure.suptitle("Three replicas, a million keys, constant writes", fontsize=11)
    figure.tight_layout()
    figure.savefig(DOCS / "soak.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()

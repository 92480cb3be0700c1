"""A page that shows why a history is not linearizable: one file, which needs nothing else and no network.

Time runs from left to right, one column for each call and return, so that what matters, their order, can be read. Each
process has a row. The operations of the longest legal beginning bear their number in its order; the one with whose
completion it all became impossible is red.
"""

from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from oarlock.testing.functions import UNTOLD
from oarlock.testing.linearizability import Operation, Verdict
from oarlock.testing.models import MODELS
from oarlock.testing.operation import cut, describe, shown

TITLE = "Not linearizable: "
SHOWN_OPERATIONS = 2_000
"""The operations around the failure that are drawn; of a longer history the rest is left out, and that is said."""
LISTED = 40
"""The last places of the order that are listed at once."""
NARROW_PX, WIDE_PX = 34, 84
"""The width of a column, if there are many of them and if there are few."""
WIDTH_PX = 2_500
"""As far as possible the whole time line is about this wide, or less."""
ROW_PX = 46
LONGEST = 200
"""The characters of a state, at most; in the list and on a bar there is less room."""
MOST_ROWS = 64
"""With more processes than this they share rows, and each bar names its own."""


def write_html(verdict: Verdict, path: Path) -> None:
    """Write the page of an illegal history.

    :raises ValueError: the verdict is another
    :raises OSError: the file cannot be written
    """
    path.write_text(page(verdict), encoding="utf-8")


def remove_html(path: Path) -> None:
    """Remove a page of an earlier history, if that is what is there: next to another verdict it would mislead.

    :raises OSError: it cannot be removed
    """
    if not path.is_file():
        return
    head = _PAGE.partition("{title}")[0] + TITLE
    with path.open("rb") as file:
        is_page = file.read(len(head)) == head.encode()
    if is_page:
        path.unlink()


def page(verdict: Verdict) -> str:
    """The page as text."""
    if verdict.outcome != "illegal":
        raise ValueError(f"the history is {verdict.outcome}, so there is nothing to show")
    window = _window(verdict)
    left_out = len(verdict.operations) - len(window)
    facts = f"{len(verdict.operations):,} operations on this object, judged by the model {verdict.model}."
    if left_out:
        facts += f" {len(window):,} around the failure are drawn; {left_out:,} are left out."
    places = _places(verdict, window)
    return _PAGE.format(
        title=escape(f"{TITLE}{shown(verdict.key)}"),
        sentence=escape(verdict.sentence),
        reason=escape(reason(verdict)),
        facts=escape(facts),
        timeline=_Timeline(verdict, window, places).html(),
        order=_order(places),
        style=_STYLE,
        script=_SCRIPT,
    )


def reason(verdict: Verdict) -> str:
    """What became of the state that the operation without a place would have needed."""
    culprit = verdict.culprit
    if culprit is None:
        return "Which operation made it so was not found within the budget."
    model = MODELS.get(verdict.model)
    wanted = UNTOLD if model is None else model.function(culprit).wants(model.normal(culprit))
    if model is None or wanted is UNTOLD:
        return "It contradicts the others wherever it may stand."
    last = 0 if model.initial == wanted else None
    order = []
    for n, placed in enumerate(verdict.order, start=1):
        order.append(placed.operation)
        last = n if placed.state == wanted else last
    if last is None:
        return f"It needs the state {shown(wanted)}, which nothing that was invoked before it completed leads to."
    since = "at the beginning" if last == 0 else f"after place {last}, {describe(order[last - 1])}"
    if last == len(order):
        return f"It needs the state {shown(wanted)}, which it had {since}; what comes after allows no such place."
    until = order[last]
    late = "" if until.completed >= culprit.invoked else ", which had completed before this one was invoked"
    return (
        f"It needs the state {shown(wanted)}, which the object last had {since}, "
        f"until place {last + 1}, {describe(until)}{late}."
    )


def _window(verdict: Verdict) -> list[Operation]:
    """The operations to draw, in the order of their invocation."""
    operations = sorted(verdict.operations, key=lambda op: op.invoked)
    if len(operations) <= SHOWN_OPERATIONS or verdict.culprit is None:
        return operations[:SHOWN_OPERATIONS]
    until = sum(op.invoked <= verdict.culprit.completed for op in operations)
    end = min(len(operations), until + SHOWN_OPERATIONS // 10)
    return operations[max(0, end - SHOWN_OPERATIONS) : end]


class _Place(NamedTuple):
    """A place in the order, with the state after it in words: the states themselves may be too large to be kept."""

    number: int
    operation: Operation
    state: str


def _places(verdict: Verdict, window: Collection[Operation]) -> list[_Place]:
    """The places of the operations that are drawn, and the last ones."""
    drawn, first = set(map(id, window)), len(verdict.order) - SHOWN_OPERATIONS
    return [
        _Place(n, placed.operation, shown(placed.state, LONGEST))
        for n, placed in enumerate(verdict.order, start=1)
        if n > first or id(placed.operation) in drawn
    ]


class _Timeline:
    """The bars, a row for each process."""

    def __init__(self, verdict: Verdict, window: Sequence[Operation], places: Collection[_Place]) -> None:
        self._verdict = verdict
        self._window = window
        moments = {op.invoked for op in window} | {op.completed for op in window if op.known}
        self._columns = {at: column for column, at in enumerate(sorted(moments))}
        self._column_px = max(NARROW_PX, min(WIDE_PX, WIDTH_PX // max(1, len(moments))))
        self._places = {id(place.operation): place for place in places}
        processes = list(dict.fromkeys(op.process for op in window))
        self._shared = len(processes) > MOST_ROWS
        self._processes = processes if self._shared else sorted(processes, key=lambda p: (isinstance(p, str), p))

    def html(self) -> str:
        lanes = self._lanes()
        bars = [
            self._bar(operation, row, lane[i + 1].invoked if i + 1 < len(lane) else None)
            for row, lane in enumerate(lanes)
            for i, operation in enumerate(lane)
        ]
        names = "" if self._shared else "".join(f"<div>{escape(f'process {name}')}</div>" for name in self._processes)
        width, height = (len(self._columns) + 3) * self._column_px, len(lanes) * ROW_PX
        failure = ""
        if self._verdict.culprit is not None:
            left = (self._columns[self._verdict.culprit.completed] + 1) * self._column_px
            failure = f'<i id="failure" style="left:{left}px" title="from here on no order explains it"></i>'
        return (
            f'<div class="names">{names}</div><div class="scroll" tabindex="0" aria-label="time line">'
            f'<div class="canvas" style="width:{width}px;height:{height}px">{failure}{"".join(bars)}</div></div>'
        )

    def _lanes(self) -> list[list[Operation]]:
        """The operations of each row, from left to right."""
        if not self._shared:
            return [[op for op in self._window if op.process == process] for process in self._processes]
        lanes: list[list[Operation]] = []
        for operation in self._window:
            free = next((lane for lane in lanes if self._end(lane[-1]) < self._columns[operation.invoked]), None)
            if free is None:
                lanes.append(free := [])
            free.append(operation)
        return lanes

    def _end(self, operation: Operation) -> int:
        """The last column of an operation where rows are shared, so that an unknown outcome takes no row for good."""
        return self._columns[operation.completed] if operation.known else self._columns[operation.invoked] + 4

    def _bar(self, operation: Operation, row: int, following: float | None) -> str:
        begin = self._columns[operation.invoked]
        if operation.known:
            end = self._columns[operation.completed]
        elif self._shared:
            end = self._end(operation)
        else:
            end = len(self._columns) + 1 if following is None else self._columns[following] - 1
        place = self._places.get(id(operation))
        kind, label, title = self._looks(operation, place)
        width = max(1, end - begin + 1) * self._column_px - 4
        style = f"left:{begin * self._column_px}px;top:{row * ROW_PX}px;width:{width}px"
        return f'<div class="bar {kind}" style="{style}" title="{escape(title)}"><span>{label}</span></div>'

    def _looks(self, operation: Operation, place: _Place | None) -> tuple[str, str, str]:
        """Its class, what stands on it, and what the pointer tells."""
        verdict = self._verdict
        text = describe(operation)
        brief = escape(text if self._shared else text.rpartition(" by process ")[0])
        unknown = "" if operation.known else " unknown"
        if operation is verdict.culprit or (verdict.culprit is not None and operation == verdict.culprit):
            return "culprit", f"<b>✗</b> {brief}", f"{text}: it has no place"
        if place is not None:
            small = f"<small>{escape(cut(place.state, 40))}</small>"
            return (
                f"placed{unknown}",
                f"<b>{place.number}</b> {brief}{small}",
                f"place {place.number}: {text}; then the state is {place.state}",
            )
        if verdict.culprit is not None and operation.invoked > verdict.culprit.completed:
            return f"later{unknown}", brief, f"{text}: after the failure"
        return f"open{unknown}", brief, f"{text}: under way at the failure, and not needed"


def _order(places: Sequence[_Place]) -> str:
    rows = [
        f"<tr><td>{n}</td><td>{escape(describe(operation))}</td><td>{escape(cut(state, 120))}</td></tr>"
        for n, operation, state in places[-SHOWN_OPERATIONS:]
    ]
    if not rows:
        return "<p>Nothing had completed before.</p>"
    head = "<thead><tr><th>place</th><th>operation</th><th>state after it</th></tr></thead>"
    table = f"<table>{head}{''.join(rows[-LISTED:])}</table>"
    if len(rows) <= LISTED:
        return table
    earlier = f"<table>{head}{''.join(rows[:-LISTED])}</table>"
    return f"<details><summary>{len(rows) - LISTED:,} earlier places</summary>{earlier}</details>{table}"


_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2126; --soft: #667; --line: #d4d9de; --placed: #dcecff;
  --placed-edge: #4d86c6; --open: #eceef0; --culprit: #ffd9d6; --culprit-edge: #c62828; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181b; --ink: #e6e9ec; --soft: #9aa4ad; --line: #343b42;
  --placed: #1d3550; --placed-edge: #5b9be0; --open: #262b30; --culprit: #55201f; --culprit-edge: #ff6f67; } }
body { margin: 2rem auto; max-width: 100rem; padding: 0 1.5rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
h1, p { overflow-wrap: anywhere; } .soft, summary { color: var(--soft); }
.key span { display: inline-block; padding: 0 .5rem; margin-right: .8rem; border-radius: 4px; border: 1px solid; }
.timeline { display: flex; border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }
.names { flex: none; border-right: 1px solid var(--line); font-size: 12px; color: var(--soft); padding-top: 8px; }
.names div { height: 46px; padding: 10px 10px 0; box-sizing: border-box; white-space: nowrap; max-width: 12rem;
  overflow: hidden; text-overflow: ellipsis; }
.scroll { overflow: auto; flex: 1; padding: 8px 0; } .canvas { position: relative; }
.bar { position: absolute; height: 38px; box-sizing: border-box; padding: 1px 5px; border: 1px solid;
  border-radius: 4px; font: 12px/17px ui-monospace, monospace; white-space: nowrap; overflow: clip; }
.bar span { position: sticky; left: 6px; display: inline-block; max-width: 100%; overflow: hidden;
  text-overflow: ellipsis; }
.bar:hover { width: auto !important; z-index: 3; }
.bar small { display: block; color: var(--soft); font-size: 11px; overflow: hidden; text-overflow: ellipsis; }
.placed { background: var(--placed); border-color: var(--placed-edge); }
.open, .later { background: var(--open); border-color: var(--line); } .later { color: var(--soft); }
.culprit { background: var(--culprit); border: 2px solid var(--culprit-edge); z-index: 2; }
.culprit b { color: var(--culprit-edge); }
.unknown { border-right-style: dashed; border-top-right-radius: 0; border-bottom-right-radius: 0; }
#failure { position: absolute; top: 0; bottom: 0; border-left: 2px dashed var(--culprit-edge); z-index: 1; }
table { border-collapse: collapse; font: 13px/1.5 ui-monospace, monospace; margin-bottom: .5rem; }
th { text-align: left; color: var(--soft); font-weight: normal; } td:first-child { text-align: right; }
td, th { padding: 1px 1rem 1px 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
"""

_SCRIPT = """
const failure = document.getElementById("failure"), scroll = document.querySelector(".scroll");
if (failure) scroll.scrollLeft = failure.offsetLeft - scroll.clientWidth * 0.7;
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{sentence}</h1>
<p>{reason}</p>
<p class="soft">{facts}</p>
<h2>What the clients saw</h2>
<p class="soft">Each bar runs from a call to its return, and takes effect somewhere between. Columns are events in the
order of time. A dashed end: the outcome is unknown.</p>
<p class="key soft"><span class="placed">3: at place 3 of the order, with the state after it</span>
<span class="culprit">has no place</span><span class="open">under way, or later</span></p>
<div class="timeline">{timeline}</div>
<h2>The longest legal beginning</h2>
<p class="soft">One order of all that had completed before the operation without a place did.</p>
{order}
<script>{script}</script>
</body>
</html>
"""

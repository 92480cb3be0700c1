"""The page of a violation shows what it must, needs nothing from outside, and escapes what came from a history."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from oarlock.testing.linearizability import NEVER, Operation, Verdict, check
from oarlock.testing.models import MODELS
from oarlock.testing.report import SHOWN_OPERATIONS, page, reason, remove_html, write_html

HOSTILE = "</script><script>alert('x')</script>\"{sentence}&"


def stale(writes: int = 2, value: str = "v", processes: int = 3, key: str = "k") -> Verdict:
    """A read that finds what the last write but one wrote, and what came after."""
    history = [Operation(key, "write", f"{value}{n}", None, n, n + 0.5, n % processes) for n in range(writes)]
    at = float(writes)
    history += [
        Operation(key, "write", f"{value}open", None, at, NEVER, "another"),
        Operation(key, "read", None, f"{value}{writes - 2}", at + 1, at + 2, 0),
        Operation(key, "read", None, f"{value}{writes - 1}", at + 3, at + 4, 1),
    ]
    return check(history, MODELS["register"])


class Elements(HTMLParser):
    """Every element of a page; fails where one is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.found if name in (attributes.get("class") or "").split()]


def test_every_operation_has_its_bar_and_the_failure_its_mark() -> None:
    text = page(stale())
    bars = Elements(text).of_class("bar")
    assert [str(bar["class"]).removeprefix("bar ") for bar in bars] == [
        "placed", "culprit", "placed", "later", "open unknown",
    ]  # fmt: skip
    assert "place 2: write(&#x27;v1&#x27;)" in text
    assert "no order explains read() -&gt; &#x27;v0&#x27; by process 0" in text
    assert 'id="failure"' in text


def test_why_it_has_no_place() -> None:
    assert reason(stale()) == (
        "It needs the state 'v0', which the object last had after place 1, write('v0') by process 0, "
        "until place 2, write('v1') by process 1, which had completed before this one was invoked."
    )
    never = check([Operation("k", "read", None, 7, 0, 1)], MODELS["register"])
    assert reason(never) == "It needs the state 7, which nothing that was invoked before it completed leads to."
    queue = check([Operation("k", "dequeue", None, 7, 0, 1)], MODELS["queue"])
    assert reason(queue) == "It contradicts the others wherever it may stand."


def test_it_needs_nothing_from_outside() -> None:
    elements = Elements(page(stale()))
    assert {tag for tag, _ in elements.found} & {"link", "img", "iframe", "object"} == set()
    assert all("src" not in attributes and "href" not in attributes for _, attributes in elements.found)
    assert not re.search(r"https?:|url\(|@import", page(stale()))


def test_what_comes_from_the_history_is_escaped_wherever_it_stands() -> None:
    text = page(stale(value=HOSTILE, key=HOSTILE))
    assert text.count("<script>") == 1
    assert "alert('x')" not in text
    assert len(Elements(text).of_class("bar")) == 5


def test_a_name_of_a_process_is_escaped_too() -> None:
    verdict = check([Operation(None, "read", None, 1, 0, 1, HOSTILE)], MODELS["register"])
    assert page(verdict).count("<script>") == 1


def test_of_a_long_history_what_surrounds_the_failure_is_drawn() -> None:
    verdict = stale(writes=SHOWN_OPERATIONS + 500)
    text = page(verdict)
    bars = Elements(text).of_class("bar")
    assert len(bars) == SHOWN_OPERATIONS
    assert sum("culprit" in str(bar["class"]) for bar in bars) == 1
    assert "503 are left out" in text
    assert "earlier places" in text


def test_many_processes_share_rows_and_each_bar_names_its_own() -> None:
    text = page(stale(writes=300, processes=300))
    height = re.search(r'class="canvas" style="width:\d+px;height:(\d+)px"', text)
    assert height is not None and int(height[1]) < 300
    assert "by process 299" in text


def test_a_verdict_without_a_culprit_has_a_page_too() -> None:
    operations = [Operation("k", "read", None, 1, 0, 1)]
    verdict = Verdict("illegal", "It is not.", 1, "register", "k", operations)
    assert "was not found within the budget" in page(verdict)


def test_only_what_is_illegal_has_a_page(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="linearizable, so there is nothing to show"):
        write_html(check([], MODELS["register"]), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    write_html(stale(), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page(stale())


def test_a_page_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ours, other = tmp_path / "page.html", tmp_path / "other.html"
    write_html(stale(), ours)
    other.write_text(page(stale())[1:])
    for path in (ours, other, tmp_path / "none.html", tmp_path):
        remove_html(path)
    assert not ours.exists()
    assert other.exists()

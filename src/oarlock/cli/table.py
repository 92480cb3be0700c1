"""Rows under headings, as plain text: for eyes, and for whoever pipes it into something."""

from collections.abc import Sequence


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[str] = ()) -> str:
    """Columns as wide as they must be, to the right but for those that are named in ``left``."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    placed = [str.ljust if heading in left else str.rjust for heading in headings]
    return "\n".join(
        "  ".join(place(text, width) for place, text, width in zip(placed, line, widths, strict=True)).rstrip()
        for line in lines
    )


def milliseconds(seconds: float | None) -> str:
    """A short time, or a dash."""
    return "-" if seconds is None else f"{1000 * seconds:.1f} ms"


def seconds(value: float | None) -> str:
    """A time that may be long, or a dash."""
    return "-" if value is None else f"{value:.1f} s"


def number(value: int | None) -> str:
    """With commas, or a dash."""
    return "-" if value is None else f"{value:,}"


def size(size_bytes: int) -> str:
    """About how many bytes."""
    for shift, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size_bytes >> shift:
            return f"{size_bytes / (1 << shift):.1f} {unit}"
    return f"{size_bytes} bytes"


def log_time(time_ms: int) -> str:
    """A time of the log, as days and a time of day."""
    days, rest = divmod(time_ms, 86_400_000)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    text = f"{hours}:{minutes:02}:{rest / 1000:06.3f}"
    return f"{days} d {text}" if days else text

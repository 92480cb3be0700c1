"""History files: one JSON object a line, in the order of real time.

.. code-block:: json

    {"process": 3, "type": "invoke", "f": "write", "key": "k", "value": 1}
    {"process": 3, "type": "ok", "f": "write"}
    {"process": 4, "type": "invoke", "f": "read", "key": "k"}
    {"process": 4, "type": "ok", "f": "read", "value": 1}

``type`` is ``invoke``, or what came of it: ``ok``; ``fail``, it did not happen; ``info``, nobody knows, as of what is
still open at the end. The ``value`` of an invocation is the argument (``cas`` takes ``[old, new]``), that of an ``ok``
the result. Without a ``key`` all operations are on one object. A process does one thing at a time, but may go on after
an ``info``. An ``info`` of a process that has invoked nothing is a remark, and ignored.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from oarlock.testing.models import InvalidOperation, Model
from oarlock.testing.operation import NEVER, Operation

DEEPEST = 100
"""How far lists and objects may be nested: what follows them down needs a stack."""


class BadHistory(ValueError):
    """The file is not a history; the message names the line."""


class _Event(msgspec.Struct, omit_defaults=True):
    process: int | str
    type: Literal["invoke", "ok", "fail", "info"]
    f: str = ""
    key: Any = None
    value: Any = None


_decoder = msgspec.json.Decoder(_Event)
_encoder = msgspec.json.Encoder()


def read_history(lines: Iterable[bytes], model: Model) -> list[Operation]:
    """The operations of a history, in the order of their invocation; times are line numbers.

    What did not happen is left out. Lists become tuples, and objects tuples of their items, so that a state can be
    looked up.

    :raises BadHistory: in words, with the number of the line
    """
    open_: dict[int | str, tuple[int, _Event]] = {}
    operations: dict[int, Operation] = {}
    for number, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        try:
            event = _decoder.decode(line)
            _read_event(event, number, open_, operations, model)
        except (msgspec.DecodeError, InvalidOperation, BadHistory) as error:
            raise BadHistory(f"line {number}: {error}") from None
        except UnicodeDecodeError:
            raise BadHistory(f"line {number}: it is not UTF-8") from None
        except RecursionError:
            raise BadHistory(f"line {number}: it is nested too deeply") from None
    for number, begun in open_.values():
        operations[number] = _operation(begun, None, number, NEVER)
    return [operations[number] for number in sorted(operations)]


def _read_event(
    event: _Event,
    number: int,
    open_: dict[int | str, tuple[int, _Event]],
    operations: dict[int, Operation],
    model: Model,
) -> None:
    if event.type == "invoke":
        if event.process in open_:
            since = open_[event.process][0]
            raise BadHistory(f"process {event.process} invokes {event.f!r} while its call of line {since} is open")
        model.function(_operation(event, None, number, NEVER))
        open_[event.process] = number, event
        return
    if event.process not in open_:
        if event.type == "info":
            return
        raise BadHistory(f"process {event.process} has invoked nothing that could be {event.type!r}")
    invoked, begun = open_.pop(event.process)
    if event.f not in ("", begun.f):
        raise BadHistory(f"process {event.process} completes {event.f!r}, but invoked {begun.f!r} in line {invoked}")
    if event.type == "ok":
        operations[invoked] = _operation(begun, event.value, invoked, number)
    elif event.type == "info":
        operations[invoked] = _operation(begun, None, invoked, NEVER)


def _operation(event: _Event, result: Any, invoked: int, completed: float) -> Operation:
    return Operation(
        _frozen(event.key), event.f, _frozen(event.value), _frozen(result), invoked, completed, event.process
    )


def _frozen(value: Any, depth: int = 0) -> Any:
    match value:
        case list() | dict() if depth == DEEPEST:
            raise BadHistory("it is nested too deeply")
        case list():
            return tuple(_frozen(item, depth + 1) for item in value)
        case dict():
            return tuple(sorted((name, _frozen(item, depth + 1)) for name, item in value.items()))
        case _:
            return value


def write_history(operations: Iterable[Operation]) -> Iterator[bytes]:
    """The lines of a history, each with its end of line.

    Bytes are written as text. Of what stands in neither place nor time to each other, such as events of the same
    moment, invocations come first, which allows more.

    :raises ValueError: two operations of one process overlap, although the outcome of the first is known
    """
    events: list[tuple[float, int, int, Operation]] = []
    for order, operation in enumerate(operations):
        events.append((operation.invoked, 0, order, operation))
        if operation.known:
            events.append((operation.completed, 1, order, operation))
    events.sort(key=lambda event: event[:3])
    open_: dict[Any, Operation] = {}
    for _, completes, _, operation in events:
        process = operation.process
        if completes:
            if open_.get(process) is operation:
                yield _ok(open_.pop(process))
            continue
        if (before := open_.pop(process, None)) is not None:
            if not before.known:
                yield _line(_Event(process, "info", before.function))
            elif before.completed <= operation.invoked:
                yield _ok(before)
            else:
                raise ValueError(f"process {process} does two things at a time: {before} and {operation}")
        open_[process] = operation
        yield _line(_Event(process, "invoke", operation.function, _plain(operation.key), _plain(operation.argument)))


def _ok(operation: Operation) -> bytes:
    return _line(_Event(operation.process, "ok", operation.function, None, _plain(operation.result)))


def _line(event: _Event) -> bytes:
    return _encoder.encode(event) + b"\n"


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    match value:
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case tuple() | list():
            return list(map(_plain, value))
        case frozenset() | set():
            return sorted(map(_plain, value), key=repr)
        case _:
            return value

"""History files: one JSON object a line, in the order of real time.

.. code-block:: json

    {"process": 3, "type": "invoke", "f": "write", "key": "k", "value": 1}
    {"process": 3, "type": "ok", "f": "write"}
    {"process": 4, "type": "invoke", "f": "read", "key": "k"}
    {"process": 4, "type": "ok", "f": "read", "value": 1}

``type`` is ``invoke``, or what came of it: ``ok``; ``fail``, it did not happen; ``info``, nobody knows, as of what is
still open at the end. The ``value`` of an invocation is the argument (``cas`` takes ``[old, new]``), that of an ``ok``
the result. Without a ``key`` all operations are on one object; what came of it need not repeat the key. A process does
one thing at a time, but may go on after an ``info``. An ``info`` of a process that has invoked nothing is a remark, and
ignored.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from oarlock.testing.models import InvalidOperation, Model
from oarlock.testing.operation import NEVER, Operation, shown
from oarlock.testing.values import TooDeep, frozen, plain


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

    What did not happen is left out. Values are as :func:`~oarlock.testing.values.frozen` has them, except results that
    say yes or no.

    :raises BadHistory: in words, with the number of the line; also of an empty file
    """
    empty = True
    open_: dict[int | str, tuple[int, _Event]] = {}
    operations: dict[int, Operation] = {}
    for number, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        empty = False
        try:
            event = _decoder.decode(line)
            _read_event(event, number, open_, operations, model)
        except (msgspec.DecodeError, InvalidOperation, BadHistory, TooDeep) as error:
            raise BadHistory(f"line {number}: {error}") from None
        except UnicodeDecodeError:
            raise BadHistory(f"line {number}: it is not UTF-8") from None
        except RecursionError:
            raise BadHistory(f"line {number}: it is nested too deeply") from None
    if empty:
        raise BadHistory("there is nothing in it")
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
    if event.key is not None and frozen(event.key) != frozen(begun.key):
        there, key = shown(frozen(begun.key)), shown(frozen(event.key))
        raise BadHistory(f"process {event.process} completes {begun.f!r} of {key}, but invoked that of {there}")
    if event.type == "ok":
        operations[invoked] = operation = _operation(begun, event.value, invoked, number)
        if model.function(operation).decides and isinstance(event.value, bool):
            operations[invoked] = operation = msgspec.structs.replace(operation, result=event.value)
        model.refuse_result(operation)
    elif event.type == "info":
        operations[invoked] = _operation(begun, None, invoked, NEVER)


def _operation(event: _Event, result: Any, invoked: int, completed: float) -> Operation:
    return Operation(frozen(event.key), event.f, frozen(event.value), frozen(result), invoked, completed, event.process)


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
        yield _line(_Event(process, "invoke", operation.function, plain(operation.key), plain(operation.argument)))


def _ok(operation: Operation) -> bytes:
    return _line(_Event(operation.process, "ok", operation.function, None, plain(operation.result)))


def _line(event: _Event) -> bytes:
    return _encoder.encode(event) + b"\n"

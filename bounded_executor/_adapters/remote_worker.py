"""Runs in a worker of an executor below: unpickles calls, makes them, and pickles how they ended.

The worker may be a process on another machine, so this module imports little.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from .._serialize import pickling
from .._serialize.outcomes import ATOMS
from .._serialize.payload import Parts, load, load_item

__all__ = ["Entry", "Kind", "Outcomes", "Stays", "TaskFailed", "run"]

# A result that is larger stays with its worker where it can, until it is asked for.
STAY_BYTES = 1 << 20


class Kind:
    """What the body of an entry is."""

    RESULT = 0  # pickle of the result
    PARTS = 1  # the same in parts, see _serialize.payload
    ERROR = 2  # what pickling.dump_error returns
    TOGETHER = 3  # one pickle of the results of several items


class Entry(NamedTuple):
    """How an item ended, or several that follow each other.

    Attributes:
        kind: of ``Kind``.
        body: bytes.
        seconds: how long they ran.
        items: how many they are.
    """

    kind: int
    body: bytes | bytearray
    seconds: float
    items: int


class Outcomes:
    """How the items of a message ended; those at its end that are missing were not begun."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries

    def __reduce__(self) -> tuple[type[Outcomes], tuple[list[Entry]]]:
        return type(self), (self.entries,)

    def __sizeof__(self) -> int:
        # So that an engine which asks knows what it stores.
        return object.__sizeof__(self) + sum(len(entry.body) for entry in self.entries)


class Stays(Outcomes):
    """The large result of a single task, which whoever wants it is to fetch."""

    __slots__ = ()


class TaskFailed(Exception):
    """A task's own error, for an engine that is to see that it failed.

    Args:
        body: what ``pickling.dump_error`` returned.
        summary: one line, for the engine's own log.
    """

    def __init__(self, body: bytes, summary: str) -> None:
        super().__init__(summary)
        self.body = body

    def __reduce__(self) -> tuple[type[TaskFailed], tuple[bytes, object]]:
        return type(self), (self.body, self.args[0])


def run(
    message: bytes | bytearray,
    in_parts: bool,
    ticket: int,
    batch_seconds: float | None = None,
    stays: bool = False,
    raises: bool = False,
    explain: Callable[[BaseException], None] | None = None,
) -> Outcomes:
    """Run the items of a message.

    Args:
        message: see ``Work.message``.
        in_parts: it is one in parts.
        ticket: no two messages have the same, so that no engine takes two equal ones for one.
        batch_seconds: after so many no further item is begun.
        stays: a large result may stay here.
        raises: a single item's error is raised, as ``TaskFailed``.
        explain: called with each error; it may add a reason to the error's text.
    """
    dumped, _, items = load(Parts.of_body(message) if in_parts else message)
    del message
    loads = load_item if in_parts else pickle.loads
    entries: list[Entry] = []
    atoms: list[Any] = []
    fn: Any = None
    start = began = flushed = perf_counter()

    def flush() -> None:
        if atoms:
            body = pickle.dumps(atoms, pickle.HIGHEST_PROTOCOL)
            entries.append(Entry(Kind.TOGETHER, body, began - flushed, len(atoms)))
            atoms.clear()

    several = len(items) > 1
    for item in items:
        try:
            if fn is None and dumped is not None:
                # Unpickling may run user code, and whatever that does is this item's matter.
                fn = pickle.loads(dumped)
            args = item if type(item) is tuple else loads(item)
            result = _call(*args) if fn is None else fn(*args)
            del args
            if several and type(result) in ATOMS:
                atoms.append(result)
                began = perf_counter()
            else:
                body = pickling.dump_parts(result)
                flush()
                now = perf_counter()
                if isinstance(body, Parts):
                    # In one piece: not every engine takes buffers along.
                    entries.append(Entry(Kind.PARTS, bytearray().join(body.body()), now - began, 1))
                else:
                    entries.append(Entry(Kind.RESULT, body, now - began, 1))
                began = flushed = now
            del result
        except BaseException as error:
            flush()
            if explain is not None:
                explain(error)
            dumped_error = pickling.dump_error(error)
            if raises:
                raise TaskFailed(dumped_error, pickling.summary(error)) from None
            pickling.drop_traceback(error)
            now = perf_counter()
            entries.append(Entry(Kind.ERROR, dumped_error, now - began, 1))
            began = flushed = now
        if batch_seconds is not None and began - start > batch_seconds:
            break
    flush()
    if stays and not several and entries[0].kind != Kind.ERROR and len(entries[0].body) > STAY_BYTES:
        return Stays(entries)
    return Outcomes(entries)


def _call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)

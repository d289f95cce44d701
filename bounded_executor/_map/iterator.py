"""What a ``map`` call returns: the user's hold on a map, which goes on without it where it must."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from typing import Any, NoReturn, TypeVar, cast

from .run import MapRun

__all__ = ["MapIterator", "length_of"]


T = TypeVar("T")


class MapIterator(Iterator[T]):
    """The results of a ``map`` call; one thread at a time may use it.

    It has a ``len``, how many results are still to come, where all inputs had one. Closing or dropping one
    that has begun cancels what has not started. One that has not begun is run to its end by the executor's
    shutdown, see ``BoundedProcessPoolExecutor.map``.
    """

    def __init__(
        self, run: MapRun, executor: object, on_begin: Callable[[MapRun], None], total: int | None
    ) -> None:
        self._total = total
        self._run = run
        # Held until the end, so that an executor which only the iterator needs is not collected.
        self._executor: object | None = executor
        self._on_begin = on_begin
        self._pid = os.getpid()
        self._values: Any = run.fetched.values

    def __next__(self) -> T:
        # All that there is to do for most results.
        values = self._values
        if values:
            value: T = values[0]
            # Not `popleft`: when that has returned a signal's handler may raise, and the value would be lost.
            del values[0]
            return value
        run = self._run
        if self._pid != os.getpid():
            raise RuntimeError(
                f"this map belongs to process {self._pid} and was inherited by process {os.getpid()} "
                "through os.fork(), where nothing brings its results."
            )
        if not run.begun:
            self._on_begin(run)
        try:
            return cast(T, run.advance())
        finally:
            if run.finished:
                self._executor = None

    def __len__(self) -> int:
        """Return how many results are still to come.

        Raises:
            TypeError: not all inputs had a length when ``map`` was called.
        """
        if self._total is None:
            raise TypeError("the results of this map have no length, because not all of its inputs have one")
        return max(0, self._total - self._run.yielded) if not self._run.finished else 0

    def __bool__(self) -> bool:
        return True

    def close(self) -> None:
        """Cancel what has not started and drop what was not fetched; later calls do nothing."""
        self._on_begin(self._run)
        self._run.begun = True
        self._run.cancel()
        self._executor = None

    def __reduce__(self) -> NoReturn:
        raise TypeError("the results of a map cannot be copied or pickled. Make a list of them first.")

    def __del__(self) -> None:
        run = getattr(self, "_run", None)
        if run is None or run.finished:
            return
        try:
            self._drop(run)
        except BaseException:
            # Interrupted by a signal's handler, which the interpreter reports.
            self._drop(run)
            raise

    def _drop(self, run: MapRun) -> None:
        run.drop()
        if run.submitted:
            # The executor's shutdown has nothing left to do for it; an executor that lives long
            # must not remember every map whose results were dropped.
            run.note(partial(self._on_begin, run))


def length_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """Return how many calls the inputs make, None where that is not known."""
    if not iterables:
        return 0
    lengths = [_length(one) for one in iterables]
    known = [length for length in lengths if length is not None]
    return min(known) if len(known) == len(lengths) else None


def _length(iterable: Iterable[Any]) -> int | None:
    if not isinstance(iterable, Sized):
        return None
    try:
        return len(iterable)
    except Exception:
        # It is a courtesy; the inputs may be sound without it.
        return None

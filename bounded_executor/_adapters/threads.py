"""Calls that stay in this process, for an executor with threads: nothing is pickled, nothing weighs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from .._serialize import pickling
from .._serialize.functions import Function
from .._serialize.payload import Unpickled

__all__ = ["Calls", "is_run_by", "run"]

_local = threading.local()

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Calls:
    """What calls become on their way: what they are."""

    numbers = False

    def call(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Function, Unpickled]:
        """Return a record of ``fn``, and the call."""
        return Function(pickling.name_of(fn)), Unpickled((fn, args, kwargs))

    def for_map(self, fn: Callable[..., Any]) -> Function:
        """Return a record of a function that is called for many tasks."""
        return Function(pickling.name_of(fn))

    def item(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Unpickled:
        """Return the call that one task of a map is."""
        return Unpickled((fn, args, {}))


def is_run_by(owner: object) -> bool:
    """Return whether the caller is a call that is made for ``owner``."""
    return owner in getattr(_local, "owners", ())


def run(calls: list[Call], owner: object) -> list[tuple[bool, Unpickled, float]]:
    """Make calls one after the other, and return how each ended and how long it took.

    Args:
        calls: they are taken out of it, so that nothing keeps what has been called.
        owner: for whom; see :func:`is_run_by`.
    """
    outcomes = []
    calls.reverse()
    before = getattr(_local, "owners", ())
    _local.owners = (*before, owner)
    try:
        while calls:
            fn, args, kwargs = calls.pop()
            began = perf_counter()
            try:
                outcome: Any = fn(*args, **kwargs)
                ok = True
            except BaseException as error:
                # The standard library's threads do the same, with SystemExit too.
                outcome, ok = error, False
            outcomes.append((ok, Unpickled(outcome), perf_counter() - began))
            del fn, args, kwargs, outcome
        return outcomes
    finally:
        _local.owners = before
        # An error has this frame in its traceback, and they have the error.
        del outcomes

"""What is known of the functions that are called: names, pickles, and how long they take."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any, Protocol
from weakref import ReferenceType, ref

from . import pickling
from .exports import Exports
from .payload import Item, Parts

__all__ = ["Codec", "Function", "Functions"]

# Functions that are remembered; programs that make them as they go may call any number.
REMEMBERED = 256
# What an outcome counts for in the average, at most.
SHARE = 1 / 16


class Function:
    """One function, as its tasks see it.

    Attributes:
        name: for messages.
        body: its pickle, where that is made once for many tasks; None where each task brings its own.
        named: the pickle only says where to import it from, so that a process may keep it.
        seconds: running average of how long a task takes; None before the first outcome.
        size: running average of the bytes of an outcome's pickle.
    """

    __slots__ = ("__weakref__", "body", "name", "named", "seconds", "size")

    def __init__(self, name: str, body: bytes | None = None, named: bool = False) -> None:
        self.name = name
        self.body = body
        self.named = named
        self.seconds: float | None = None
        self.size = 0.0

    def learn(self, seconds: float, size: int, count: int = 1) -> None:
        """Take note of how long ``count`` tasks took together, and what their outcomes weigh."""
        if self.seconds is None:
            self.seconds, self.size = seconds / count, size / count
        else:
            share = min(1.0, count * SHARE)
            self.seconds += (seconds / count - self.seconds) * share
            self.size += (size / count - self.size) * share


class Codec(Protocol):
    """What calls become on their way to where they run.

    Attributes:
        numbers: arguments that are nothing but numbers may be left as they are.
    """

    numbers: bool

    def call(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Function, Item]:
        """Return what is known of ``fn``, and what a task of it needs besides."""
        ...

    def for_map(self, fn: Callable[..., Any]) -> Function:
        """Return what is known of a function that is called for many tasks."""
        ...

    def item(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Item:
        """Return what one task of a map needs besides."""
        ...


class Functions:
    """The functions that one executor has been given, whose calls are pickled; holds none of them.

    Args:
        exports: refers to the main module's objects, where workers have a main module; else None.

    Two threads that come with the same new function at once may each make a record of it, which costs
    an average that begins anew and nothing else. So no lock is needed.
    """

    numbers = True

    def __init__(self, exports: Exports | None = None) -> None:
        self._exports = exports
        self._named: dict[ReferenceType[Any], Function] = {}
        self._others: dict[str, Function] = {}

    def call(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Function, bytes | Parts]:
        """Return what is known of ``fn``, and the pickle of what a task of it needs besides."""
        if not kwargs:
            function = self._find(fn)
            if function is not None:
                return function, pickling.dump_args(args, self._exports)
        body = pickling.dump_call(fn, (fn, args, kwargs), self._exports)
        name = pickling.name_of(fn)
        function = self._others.get(name)
        if function is None:
            _make_room(self._others)
            function = self._others[name] = Function(name)
        return function, body

    def for_map(self, fn: Callable[..., Any]) -> Function:
        """Return what is known of a function that is pickled once for many tasks."""
        function = self._find(fn)
        if function is None:
            function = Function(pickling.name_of(fn), pickling.dump_function(fn, self._exports))
        return function

    def item(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> bytes | Parts:
        """Return the pickle of what one task of a map needs besides the function."""
        return pickling.dump_args(args, self._exports)

    def _find(self, fn: Callable[..., Any]) -> Function | None:
        """Return the record of a function that workers have by its name; None for any other."""
        if type(fn) is not FunctionType and type(fn) is not BuiltinFunctionType:
            return None
        key = ref(fn)
        function = self._named.get(key)
        # It may have been replaced in its module since.
        if getattr(sys.modules.get(fn.__module__), fn.__qualname__, None) is not fn:
            return None
        if function is None:
            exports = self._exports
            if exports is not None and exports.is_of_main(fn):
                if not exports.goes_by_name(fn):
                    return None
            elif not pickling.can_import(fn.__module__):
                return None
            _make_room(self._named)
            body = pickling.dump_function(fn, exports)
            function = self._named[key] = Function(pickling.name_of(fn), body, named=True)
        return function


def _make_room(records: dict[Any, Function]) -> None:
    if len(records) >= REMEMBERED:
        records.clear()

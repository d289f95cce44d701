"""A short text of the arguments that a call was submitted with, for the error of a task that cannot say them.

All that is left of them is their pickle. It is read with stand-ins in place of all classes and functions, but
a few of the standard library's, so that no code of the user's runs: neither a ``__setstate__`` nor a
``__repr__``. The backend's thread can do that.
"""

from __future__ import annotations

import io
import pickle
import reprlib
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath
from typing import Any

from .._serialize.payload import Parts, Unpickled
from .work import Work

__all__ = ["arguments_of"]

# The longest text, and the longest pickle that is read for it.
TEXT_CHARACTERS = 300
PICKLE_BYTES = 1 << 16
MOST_PARTS = 6
MOST_BITS = 512

# They come from their pickle without any code of others, and their own texts say more than their pickles.
_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    (kind.__module__, kind.__qualname__): kind
    for kind in (complex, date, datetime, range, slice, time, timedelta, timezone, Decimal, Fraction)
}
# Their module is another one since Python 3.13.
_KNOWN |= {
    (module, kind.__name__): kind
    for module in ("pathlib", "pathlib._local")
    for kind in (PosixPath, PurePosixPath)
}

# Refers to objects of the main module, by their name as the last argument or by a place.
_REFERRING = ("bounded_executor._serialize.namespace", ("named", "referred", "sent"))
# Make functions and classes by value, of a great deal that says nothing.
_MAKING = ("bounded_executor._serialize.namespace", "cloudpickle.cloudpickle")
_BY_VALUE = "<by value>"


def arguments_of(work: Work, index: int | None = None) -> str | None:
    """Return the arguments of an item as a call has them, shortened.

    Args:
        work: what it is part of.
        index: which one; None: the first without an outcome.

    Returns:
        The text, of at most 300 characters. None where it is not known.
    """
    item = work.items[work.done if index is None else index]
    if isinstance(item, Unpickled):
        return None
    try:
        value = item if isinstance(item, tuple) else _read(item)
        # A function without a pickle of its own is in that of the call.
        _, args, kwargs = value if work.function.body is None else (None, value, {})
        parts = [_SHORT.repr(arg) for arg in args]
        parts += [f"{name}={_SHORT.repr(arg)}" for name, arg in kwargs.items()]
        return _cut(f"({', '.join(parts)})", TEXT_CHARACTERS)
    except _TooLarge as too_large:
        return f"({too_large} bytes)"
    except Exception:
        # What the pickle has is anything: this is a courtesy.
        return None


class _TooLarge(Exception):
    """The pickle is too large to be read for a text."""


def _read(item: bytes | Parts) -> Any:
    # Large buffers are no part of the text.
    pickled, buffers = (item.pickled, item.buffer_count) if isinstance(item, Parts) else (item, 0)
    if len(pickled) > PICKLE_BYTES:
        raise _TooLarge(len(item))
    return _Reader(io.BytesIO(pickled), buffers=[b""] * buffers).load()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


class _StandIn:
    """An object of a class that is not looked up; it keeps what the pickle has of it."""

    _name = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        made.args = list(args)
        made.attributes = dict(kwargs)
        return made

    args: list[Any]
    attributes: dict[Any, Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # What `getattr` has found, most often.
        name = self.args[-1] if self.args else None
        return _stand_in(name if isinstance(name, str) else self._name)(*args, **kwargs)

    def __setstate__(self, state: Any) -> None:
        # A pair is that of a class with slots.
        for one in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(one, dict):
                self.attributes.update(one)
            elif one is not None:
                self.args.append(one)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.attributes[key] = value

    def extend(self, items: Iterable[Any]) -> None:
        self.args.extend(items)

    def append(self, item: Any) -> None:
        self.args.append(item)

    add = append


def _stand_in(name: str) -> type[_StandIn]:
    return type("StandIn", (_StandIn,), {"_name": _cut(name, 60)})


class _Referred:
    """Makes the stand-in for what a reference to an object of the main module means."""

    def __new__(cls, *args: Any) -> Any:
        return _stand_in(args[-1] if isinstance(args[-1], str) else "<main>")


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is not None:
            return _Lenient(known, name)
        if module == _REFERRING[0] and name in _REFERRING[1]:
            return _Referred
        return _stand_in(_BY_VALUE if module in _MAKING else name)


class _Lenient:
    """Makes something known, or a stand-in where an argument is one."""

    def __init__(self, make: Callable[..., Any], name: str) -> None:
        self._make = make
        self._name = name

    def __call__(self, *args: Any) -> Any:
        try:
            return self._make(*args)
        except Exception:
            return _stand_in(self._name)(*args)


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = 60

    def repr1(self, x: Any, level: int) -> str:
        if isinstance(x, _StandIn):
            return self._stand_in(x, level)
        if isinstance(x, type) and issubclass(x, _StandIn):
            return x._name
        if isinstance(x, _Lenient):
            return x._name
        return super().repr1(x, level)

    def repr_int(self, x: int, level: int) -> str:
        # The digits of a long one take a time that grows with its square.
        return f"<{x.bit_length()} bits>" if x.bit_length() > MOST_BITS else super().repr_int(x, level)

    def _stand_in(self, x: _StandIn, level: int) -> str:
        if x._name == _BY_VALUE:
            return _BY_VALUE
        if level <= 0:
            return f"{x._name}(...)"
        parts = [self.repr1(one, level - 1) for one in x.args[:MOST_PARTS]]
        for key, value in list(x.attributes.items())[: MOST_PARTS - len(parts)]:
            name = _cut(key, 60) if type(key) is str else self.repr1(key, level - 1)
            parts.append(f"{name}={self.repr1(value, level - 1)}")
        if len(x.args) + len(x.attributes) > len(parts):
            parts.append("...")
        return f"{x._name}({', '.join(parts)})"


_SHORT = _Short()

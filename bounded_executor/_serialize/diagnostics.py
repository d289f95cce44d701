"""What is said of functions that travel by value, with all globals that they use.

The log says it once for each function: that it is heavy, or that one of its globals cannot be pickled, so
that none of its tasks can ever run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import cloudpickle

from .._log import Log

__all__ = ["HEAVY_BYTES", "name_of", "tell_changed", "tell_heavy", "tell_not_imported", "tell_unfit"]

_log = Log()

HEAVY_BYTES = 1_000_000
_told: set[str] = set()
_unfit: dict[str, str] = {}  # what is said of each such function


def name_of(fn: Callable[..., Any]) -> str:
    """Return a readable name of a callable, for messages."""
    inner = getattr(fn, "func", fn)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return f"{getattr(inner, '__module__', None) or type(inner).__module__}.{name}"


def tell_changed(file: str | None, why: str) -> None:
    """Say that the main script, which could have been imported, cannot be."""
    _log.warning(
        "the main module %s is not imported by worker processes: %s. Its functions travel by value, "
        "and what its top level does to a process is missing in the workers.",
        file,
        why,
    )


def tell_not_imported(main: str | None, why: str, words: str) -> None:
    """Say that an import of the main module has failed in a worker process.

    Args:
        main: its name, or its file.
        why: what the import ended with.
        words: the last that it wrote to standard error; empty where that is not known.
    """
    _log.warning(
        "the main module %s could not be imported for the worker processes: %s. Its functions travel by "
        "value from now on, and what its top level does to a process is missing in the workers. "
        "import_main=False goes by value from the start.%s",
        main,
        why,
        f" What the import wrote to standard error, in the end:\n{words}" if words else "",
    )


def tell_heavy(fn: Callable[..., Any], total: int | None = None) -> None:
    """Say that a function is heavy, if it is, and which of its globals are why.

    Args:
        fn: the function.
        total: bytes of its pickle, where its globals do not travel with it; None: they do.
    """
    name = name_of(fn)
    if name in _told or not isinstance(fn, FunctionType):
        return
    _told.add(name)
    globals_too = total is None
    if total is None:
        total = len(cloudpickle.dumps(fn))
    if total <= HEAVY_BYTES:
        return
    heavy = []
    for key, value in _globals_of(fn) if globals_too else ():
        try:
            size = len(cloudpickle.dumps(value))
        except Exception:
            continue
        if size > HEAVY_BYTES // 10:
            heavy.append(f"{key} ({size:,} bytes)")
    _log.warning(
        "%s travels by value with every task, %d bytes each time%s. Put it into an importable "
        "module, or pass the data through initargs to an initializer that is in one too.",
        name,
        total,
        ", because of the globals " + ", ".join(heavy) if heavy else "",
    )


def tell_unfit(fn: Callable[..., Any], error: Exception) -> None:
    """Say which global of a function is why its call cannot be pickled, if it is one of them.

    Args:
        fn: what was to be called.
        error: what pickling has raised; gets a note of the same.
    """
    inner = getattr(fn, "func", fn)
    if not isinstance(inner, FunctionType):
        return
    name = name_of(fn)
    text = _unfit.get(name)
    if text is None:
        unfit = [key for key, value in _globals_of(inner) if not _can_be_sent(value)]
        if not unfit:
            return
        text = _unfit[name] = (
            f"{name} cannot be sent to a worker: it travels by value, with the globals that it uses, and "
            f"{', '.join(unfit)} cannot be pickled. Put it into an importable module, where it finds them."
        )
        # The future has the error too, and nobody may look at it.
        _log.warning("%s", text)
    # There are notes since Python 3.11. It may refuse attributes, or to be asked, and is raised all the same.
    with contextlib.suppress(Exception):
        error.add_note(text)  # type: ignore[attr-defined, unused-ignore]


def _can_be_sent(value: Any) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:
        return False
    return True


def _globals_of(fn: FunctionType) -> Iterator[tuple[str, Any]]:
    for key in sorted(_names(fn.__code__)):
        if key in fn.__globals__:
            yield key, fn.__globals__[key]


def _names(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names

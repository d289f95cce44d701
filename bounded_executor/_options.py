"""Checks of the constructor's and map's parameters: one message per rule, showing the value it got.

Where the standard library has words for a mistake, they are the ones used here.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any, Literal

from ._memory import proc
from .events import TaskEvent

__all__ = [
    "PORTABLE",
    "Bounds",
    "Settings",
    "check_bool",
    "check_buffersize",
    "check_count",
    "check_seconds",
    "is_portable",
]

# Where that is, for messages.
PORTABLE = "in the portable way (on Windows, or with BOUNDED_EXECUTOR_PORTABLE=1)"
# WaitForMultipleObjects takes 63 handles; the standard library stops at this number too.
MAX_WINDOWS_WORKERS = 61


def is_portable() -> bool:
    """Return whether a process pool that is made now is one of the portable way.

    Raises:
        ValueError: the environment has a value for the setting that means nothing.
    """
    value = os.environ.get("BOUNDED_EXECUTOR_PORTABLE", "")
    if value not in ("", "0", "1"):
        raise ValueError(f"BOUNDED_EXECUTOR_PORTABLE must be 0 or 1, got {value!r}")
    return sys.platform == "win32" or value == "1"


def check_count(name: str, value: Any, *, least: int) -> int:
    """Return ``value`` if it is an int of at least ``least``; a bool is not an int here."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value!r}")
    return value


def check_buffersize(value: Any) -> None:
    """Check the ``buffersize`` of a map, with the words that the standard library has since Python 3.14."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"buffersize must be an integer or None, got {value!r}")
    if value < 1:
        raise ValueError(f"buffersize must be None or > 0, got {value!r}")


def _check_bytes(name: str, value: Any) -> int | None:
    return None if value is None else check_count(name, value, least=1)


def _check_memory(name: str, value: Any) -> int | None:
    if isinstance(value, str):
        only = ' or "auto"' if name == "max_memory_total" else ""
        raise TypeError(f"{name} must be an integer, a number of bytes{only}, got {value!r}")
    checked = _check_bytes(name, value)
    if checked is not None:
        _need_proc(name, value)
    return checked


def _check_total(value: Any) -> Any:
    if value == "auto":
        _need_proc("max_memory_total", value)
        return value
    return _check_memory("max_memory_total", value)


def _need_proc(name: str, value: Any) -> None:
    if not proc.CAN_MEASURE:
        raise ValueError(f"{name} needs the /proc file system of Linux and must be None here, got {value!r}")


def check_seconds(name: str, value: Any) -> float:
    """Return ``value`` if it is a number of seconds, zero or more."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name} must be >= 0 seconds, got {value!r}")
    # threading refuses longer waits; nobody outlives this one.
    return min(value, 1e9)


def _check_limit(name: str, value: Any) -> float | None:
    """Return ``value`` if it is None or a number of seconds above zero."""
    if value is None:
        return None
    seconds = check_seconds(name, value)
    if not seconds:
        raise ValueError(f"{name} must be more than 0 seconds, or None for no limit, got {value!r}")
    return seconds


def check_bool(name: str, value: Any) -> bool:
    """Return ``value`` if it is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def _check_callable(name: str, value: Any) -> Callable[..., object] | None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a callable or None, got {value!r}")
    found: Callable[..., object] | None = value
    return found


def _check_crash(value: Any) -> Literal["isolate", "break"]:
    if not isinstance(value, str):
        raise TypeError(f"on_crash must be 'isolate' or 'break', got {value!r}")
    if value == "isolate":
        return "isolate"
    if value == "break":
        return "break"
    raise ValueError(f"on_crash must be 'isolate' or 'break', got {value!r}")


def _refuse_green_threads() -> None:
    """Refuse to run where gevent has replaced threads: loky's, which wait for processes, would hang."""
    is_patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    if is_patched is not None and is_patched("threading"):
        raise RuntimeError(
            "gevent has patched threading, and this executor needs threads of the system. Use "
            "BoundedExecutor over a concurrent.futures.ProcessPoolExecutor, which works with gevent."
        )


def _check_workers(value: Any, default: Callable[[], int]) -> int:
    if value is None:
        count = default()
        return min(count, MAX_WINDOWS_WORKERS) if sys.platform == "win32" else count
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"max_workers must be an integer, got {value!r}")
    if value <= 0:
        raise ValueError(f"max_workers must be greater than 0, got {value!r}")
    if sys.platform == "win32" and value > MAX_WINDOWS_WORKERS:
        raise ValueError(f"max_workers must be <= {MAX_WINDOWS_WORKERS}, got {value!r}")
    return value


def _check_context(value: Any) -> str | BaseContext | None:
    if value is None or isinstance(value, BaseContext):
        return value
    if not isinstance(value, str):
        raise TypeError(
            f"mp_context must be None, the name of a start method or a multiprocessing context, got {value!r}"
        )
    known = [*multiprocessing.get_all_start_methods(), "loky"]
    if value not in known:
        raise ValueError(f"mp_context must be one of {sorted(set(known))}, got {value!r}")
    return value


def _check_modules(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be an iterable of module names, such as ['json'], got {value!r}")
    modules = tuple(value)
    for module in modules:
        if not isinstance(module, str):
            raise TypeError(f"{name} must hold names of modules as strings, got {module!r}")
        if not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(f"{name} must hold absolute names of modules, got {module!r}")
    return modules


@dataclass(frozen=True)
class Bounds:
    """The checked parameters that every executor of this package has, whatever runs its tasks."""

    queue_size: int
    queue_bytes: int | None
    submit_timeout: float | None
    on_event: Callable[[TaskEvent], object] | None

    @classmethod
    def check_bounds(
        cls, *, workers: int, queue_size: Any, queue_bytes: Any, submit_timeout: Any, on_event: Any
    ) -> Bounds:
        """Check every parameter; raise TypeError or ValueError for the first that is wrong."""
        if queue_size is None:
            # Deep enough that a producer in bursts never starves the workers, and still only
            # some hundred small pickles.
            queue_size = max(6 * workers, 512)
        return Bounds(
            queue_size=check_count("queue_size", queue_size, least=1),
            queue_bytes=_check_bytes("queue_bytes", queue_bytes),
            submit_timeout=None
            if submit_timeout is None
            else check_seconds("submit_timeout", submit_timeout),
            on_event=_check_callable("on_event", on_event),
        )


@dataclass(frozen=True)
class Settings(Bounds):
    """The checked parameters of one process pool; see its constructor for what each means."""

    max_workers: int
    mp_context: str | BaseContext | None
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    max_tasks_per_child: int | None
    max_tasks_jitter: int
    max_memory_per_child: int | None
    max_memory_hard: int | None
    max_memory_total: int | Literal["auto"] | None
    task_timeout: float | None
    on_crash: Literal["isolate", "break"]
    task_retries: int
    stall_warning: float | None
    idle_timeout: float
    preload: tuple[str, ...]
    forward_logs: bool
    import_main: bool

    @property
    def limits_memory(self) -> bool:
        """Whether the memory that tasks take is looked at."""
        limits = (self.max_memory_per_child, self.max_memory_hard, self.max_memory_total)
        return any(limit is not None for limit in limits)

    @classmethod
    def check(
        cls,
        *,
        max_workers: Any,
        mp_context: Any,
        initializer: Any,
        initargs: Any,
        max_tasks_per_child: Any,
        max_tasks_jitter: Any,
        max_memory_per_child: Any,
        max_memory_hard: Any,
        max_memory_total: Any,
        queue_size: Any,
        queue_bytes: Any,
        submit_timeout: Any,
        task_timeout: Any,
        on_crash: Any,
        task_retries: Any,
        stall_warning: Any,
        idle_timeout: Any,
        preload: Any,
        on_event: Any,
        forward_logs: Any,
        import_main: Any,
        default_workers: Callable[[], int],
    ) -> Settings:
        """Check every parameter; raise TypeError or ValueError for the first that is wrong.

        Raises:
            RuntimeError: threads are none of the system's in this process.
        """
        _refuse_green_threads()
        workers = _check_workers(max_workers, default_workers)
        context = _check_context(mp_context)
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a callable, got {initializer!r}")
        if not isinstance(initargs, Iterable) or isinstance(initargs, (str, bytes)):
            raise TypeError(f"initargs must be a tuple of arguments, got {initargs!r}")
        if max_tasks_per_child is not None:
            check_count("max_tasks_per_child", max_tasks_per_child, least=1)
        check_count("max_tasks_jitter", max_tasks_jitter, least=0)
        if max_tasks_jitter and max_tasks_per_child is None:
            raise ValueError(
                f"max_tasks_jitter={max_tasks_jitter!r} needs max_tasks_per_child, which is None"
            )
        bounds = cls.check_bounds(
            workers=workers,
            queue_size=queue_size,
            queue_bytes=queue_bytes,
            submit_timeout=submit_timeout,
            on_event=on_event,
        )
        return cls(
            **vars(bounds),
            max_workers=workers,
            mp_context=context,
            initializer=initializer,
            initargs=tuple(initargs),
            max_tasks_per_child=max_tasks_per_child,
            max_tasks_jitter=max_tasks_jitter,
            max_memory_per_child=_check_memory("max_memory_per_child", max_memory_per_child),
            max_memory_hard=_check_memory("max_memory_hard", max_memory_hard),
            max_memory_total=_check_total(max_memory_total),
            task_timeout=_check_limit("task_timeout", task_timeout),
            on_crash=_check_crash(on_crash),
            task_retries=check_count("task_retries", task_retries, least=0),
            stall_warning=_check_limit("stall_warning", stall_warning),
            idle_timeout=check_seconds("idle_timeout", idle_timeout),
            preload=_check_modules("preload", preload),
            forward_logs=check_bool("forward_logs", forward_logs),
            import_main=check_bool("import_main", import_main),
        )

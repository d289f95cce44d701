"""What becomes bytes and how: calls, results, errors, and the initializer with what it inherits.

Plain ``pickle`` is faster and its classes stay the same on both sides, but it names everything by
its module. So it is used only where the other side can import every module that is named;
``cloudpickle`` sends the rest by value: lambdas, local functions. What becomes of the main module's objects
is up to *references*: those of an executor (``_exports``) in the parent, those of the process
(``_namespace``) in a worker.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing.context
import os
import pickle
import sys
import traceback
import types
import warnings
from collections import ChainMap
from collections.abc import Callable
from concurrent.futures import process as _stdlib_process
from enum import EnumMeta
from functools import cached_property, lru_cache
from itertools import chain
from math import fsum
from multiprocessing import get_context, synchronize
from multiprocessing.reduction import ForkingPickler
from types import FunctionType
from typing import Any, Protocol, TypeVar

import cloudpickle

from ._by_value import HEAVY_BYTES, name_of, tell_heavy, tell_unfit
from ._locks import Lock
from ._outcomes import ATOMS
from ._parts import Parts, Picker, Pickled, Unpickled, load
from ._saying import Log
from ._store import Comparing

__all__ = [
    "LAZY",
    "NotShared",
    "References",
    "Start",
    "are_numbers",
    "can_import",
    "dump",
    "dump_args",
    "dump_call",
    "dump_error",
    "dump_function",
    "dump_global",
    "dump_inherited",
    "dump_parts",
    "is_interrupt",
    "is_same",
    "load_error",
    "name_of",
    "receive_descriptors",
    "refer_by",
    "summary",
    "text_of",
]

T = TypeVar("T")

_log = Log()

# What a global that is imported lazily is until its first use, since Python 3.15.
LAZY: tuple[Any, ...] = (types.LazyImportType,) if hasattr(types, "LazyImportType") else ()

# The class that users of the standard library's pool know as the cause of a remote exception.
_RemoteTraceback: Any = _stdlib_process._RemoteTraceback

_dumps = pickle.dumps
_PROTOCOL = pickle.HIGHEST_PROTOCOL
_all_atoms = ATOMS.issuperset
_all_numbers = frozenset({int, float, bool}).issuperset

# What is named in a pickle: by `functools.lru_cache` a function becomes an object that names itself as well.
_NAMED = (type, FunctionType, type(lru_cache(lambda: None)))

_importable: dict[str, bool] = {"__main__": False, "__mp_main__": False, "builtins": True}


class _ByValue(Exception):
    """Something is named that only exists here."""


class References(Protocol):
    """Knows how the main module's objects are referred to."""

    def reduce(self, obj: Any) -> Any:
        """Return what a pickle has for a function or class; None where this is not the one to know it."""
        ...


# How this process refers to them where the caller has no other way; None: as cloudpickle does.
_local: References | None = None


def refer_by(references: References, *, imported: bool) -> None:
    """In a supervisor or worker: have these references used in pickles.

    Args:
        references: how to refer to the main module's objects.
        imported: the parent has by its name what is in ``__mp_main__``.
    """
    global _local
    _local = references
    _importable["__mp_main__"] = imported


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, references: References | None, pick: Picker | None) -> None:
        super().__init__(file, _PROTOCOL, buffer_callback=pick)
        self._references = references

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _NAMED):
            if self._references is not None:
                reduced = self._references.reduce(obj)
                if reduced is not None:
                    return reduced
            if not can_import(obj.__module__):
                raise _ByValue
        return NotImplemented


class _ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: Any, references: References | None, pick: Picker | None = None) -> None:
        super().__init__(file, _PROTOCOL, buffer_callback=pick)
        self._references = references

    def reducer_override(self, obj: Any) -> Any:
        if self._references is not None and isinstance(obj, _NAMED):
            reduced = self._references.reduce(obj)
            if reduced is not None:
                return reduced
        if type(obj) is cached_property:
            # It has a lock of its own, up to Python 3.11.
            return _make_cached_property, (obj.func, obj.attrname)
        if isinstance(obj, LAZY):
            # It has no name that could be sent.
            return _itself, (obj.resolve(),)
        reduced = super().reducer_override(obj)
        slotted = isinstance(obj, type) and not isinstance(obj, EnumMeta) and "__slots__" in vars(obj)
        if slotted and isinstance(reduced, tuple):
            # They are decided when the class is made, and cloudpickle sets them afterwards.
            for one in reduced[1]:
                if isinstance(one, dict):
                    one.setdefault("__slots__", vars(obj)["__slots__"])
                    break
        return reduced


def _itself(obj: T) -> T:
    return obj


def _make_cached_property(function: Callable[..., Any], name: str | None) -> cached_property[Any]:
    made = cached_property(function)
    made.attrname = name
    return made


def can_import(name: str | None) -> bool:
    """Return whether another process with our ``sys.path`` can import a module by this name."""
    if name is None:
        return True
    known = _importable.get(name)
    if known is None:
        known = _importable[name] = _search(name)
        if not known and name in sys.modules:
            # cloudpickle would name the module as well; from here on it sends it by value.
            cloudpickle.register_pickle_by_value(sys.modules[name])
    return known


def _search(name: str) -> bool:
    """Whether a process with our ``sys.path`` finds this module, whatever ``sys.modules`` says."""
    parent = name.rpartition(".")[0]
    path = None
    if parent:
        if not can_import(parent):
            return False
        path = getattr(sys.modules.get(parent), "__path__", None)
        if path is None:
            return True
    try:
        return any(
            finder.find_spec(name, path) is not None
            for finder in sys.meta_path
            if hasattr(finder, "find_spec")
        )
    except Exception:
        return True


def dump(obj: Any, pick: Picker | None = None, references: References | None = None) -> tuple[bytes, bool]:
    """Return the pickle of ``obj``, and whether something in it travels by value.

    Args:
        obj: any object.
        pick: takes the large buffers, which the pickle then lacks.
        references: how to refer to the main module's objects; None: as this process does.
    """
    if type(obj) in ATOMS:
        return pickle.dumps(obj, pickle.HIGHEST_PROTOCOL), False
    references = references or _local
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, references, pick).dump(obj)
        return buffer.getvalue(), False
    except (_ByValue, pickle.PicklingError, AttributeError, TypeError):
        if pick is not None:
            pick.buffers.clear()
    # Not up there: what this raises would be told as raised while that was handled.
    buffer = io.BytesIO()
    _ByValuePickler(buffer, references, pick).dump(obj)
    return buffer.getvalue(), True


def dump_parts(obj: Any, references: References | None = None) -> bytes | Parts:
    """Return the pickle of ``obj``, with its large buffers beside it, which are the object's own."""
    pick = Picker()
    pickled = dump(obj, pick, references)[0]
    return Parts(pickled, pick.buffers) if pick.buffers else pickled


def dump_args(args: tuple[Any, ...], references: References | None = None) -> bytes | Parts:
    """Return the pickle of the arguments of a call, with a copy of their large buffers beside it."""
    # For the shortest tasks this is what most of their time goes into, hence the names.
    if _all_atoms(map(type, args)):
        return _dumps(args, _PROTOCOL)
    pickled = dump_parts(args, references)
    # What the caller changes after the call must not change the task.
    return pickled.copy() if isinstance(pickled, Parts) else pickled


def are_numbers(calls: list[tuple[Any, ...]]) -> bool:
    """Return whether the arguments of all these calls are numbers, none of them as long as a book.

    They cannot change, and those of many calls are pickled together, which costs a tenth.
    """
    if not _all_numbers(map(type, chain.from_iterable(calls))):
        return False
    try:
        fsum(chain.from_iterable(calls))
    except (OverflowError, ValueError):
        return False
    return True


def dump_call(fn: Callable[..., Any], obj: Any, references: References | None = None) -> bytes | Parts:
    """Return the pickle of a call of ``fn``, as :func:`dump_args` does; warn once if it is heavy."""
    pick = Picker()
    pickled = _dump_for(fn, obj, pick, references)
    return Parts(pickled, pick.buffers).copy() if pick.buffers else pickled


def dump_function(fn: Callable[..., Any], references: References | None = None) -> bytes:
    """Return the pickle of ``fn`` itself; warn once if it is heavy."""
    return _dump_for(fn, fn, None, references)


def _dump_for(fn: Callable[..., Any], obj: Any, pick: Picker | None, references: References | None) -> bytes:
    try:
        pickled, by_value = dump(obj, pick, references)
    except Exception as error:
        if references is None:
            tell_unfit(fn, error)
        raise
    if by_value and len(pickled) > HEAVY_BYTES:
        alone = None if references is None else len(dump(fn, None, references)[0])
        tell_heavy(fn, alone)
    return pickled


def dump_error(error: BaseException) -> bytes:
    """Return an exception with its traceback as text; an unpicklable one keeps its text."""
    text = text_of(error)
    try:
        body: bytes | None = dump(error)[0]
        reason = ""
    except BaseException as exc:
        body, reason = None, summary(exc)
    return pickle.dumps((body, reason, summary(error), text), pickle.HIGHEST_PROTOCOL)


def text_of(error: BaseException) -> str:
    """Return an error with its traceback, as it would be printed; raises nothing that is an ``Exception``."""
    parts = type(error), error, error.__traceback__
    with contextlib.suppress(Exception):
        return "".join(traceback.format_exception(*parts))
    try:
        # Python 3.15 warns of frames of a main module that was imported, and warnings may be errors.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "".join(traceback.format_exception(*parts))
    except Exception as unfit:
        # Sources are asked of the loaders of modules, which may be anything.
        return f"{summary(error)}\n(Its traceback cannot be printed: {summary(unfit)})\n"


def load_error(body: Pickled) -> BaseException:
    """Return the exception that :func:`dump_error` was given, its remote traceback as cause."""
    error: BaseException
    if isinstance(body, Unpickled):
        error = body.load()
        if isinstance(error, KeyboardInterrupt):
            # So that it is known for a task's; see `is_interrupt`.
            error.__cause__ = _RemoteTraceback(text_of(error))
        return error
    dumped, reason, raised, text = load(body)
    if dumped is None:
        error = pickle.PicklingError(f"the task raised {raised}, which cannot be pickled: {reason}")
    else:
        try:
            error = pickle.loads(dumped)
            if not isinstance(error, BaseException):
                raise TypeError(f"it became {type(error).__qualname__}")
            _drop_frames(error)
        except BaseException as exc:
            error = pickle.UnpicklingError(
                f"the task raised {raised}, which cannot be unpickled: {summary(exc)}"
            )
    error.__cause__ = _RemoteTraceback(text)
    return error


def _drop_frames(error: BaseException | None) -> None:
    """Drop tracebacks that came along, as Dask has them do: their frames hold those that are running here."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def is_interrupt(error: BaseException | None) -> bool:
    """Return whether this is Ctrl-C; a ``KeyboardInterrupt`` of a task is an error as others are."""
    return isinstance(error, KeyboardInterrupt) and not isinstance(error.__cause__, _RemoteTraceback)


def summary(error: BaseException) -> str:
    """Return an error's class and text in one line or more."""
    try:
        return f"{type(error).__qualname__}: {error}"
    except Exception:
        return type(error).__qualname__


# The initializer's arguments, and globals of the main module, may hold what only a starting process may be
# given: locks, queues and pipes of multiprocessing. Its picklers ask the object that is starting the process
# to take file descriptors along; ours are handed to the supervisor over its socket, and children inherit.

_inherited: list[int] = []


class NotShared(RuntimeError):
    """An object of multiprocessing cannot be shared with workers."""


class _InheritedFd:
    def __init__(self, index: int) -> None:
        self.index = index

    def detach(self) -> int:
        return os.dup(_inherited[self.index])


class Start:
    """Stands where multiprocessing's picklers expect the process that is being started.

    ``_lock`` guards ``fds``, whose indexes are in the pickles. Any thread may pickle for the same processes.

    Attributes:
        twins: for locks made for ``fork``, by identity, the lock and what workers have instead.
        fds: the descriptors that must come along: duplicates, the owner's to close.
        begun: there are processes already, and no descriptor can reach them any more.
        stands_in: a lock made for ``fork`` gets a twin.
    """

    DupFd = _InheritedFd

    def __init__(self) -> None:
        self.fds: list[int] = []
        self.begun = False
        self.stands_in = True
        self.twins: dict[int, tuple[Any, Any]] = {}
        self._lock = Lock()

    def duplicate_for_child(self, fd: int) -> int:
        if self.begun:
            raise NotShared(
                "it holds an object of multiprocessing that only a starting process can be given, and there "
                "are worker processes already. Set it before the first task is submitted, or pass it through "
                "initargs."
            )
        with self._lock:
            self.fds.append(os.dup(fd))
            return len(self.fds) - 1

    def reduce_lock(self, lock: Any) -> Any:
        """Reduce a lock by its name; one made for ``fork`` has none, and is stood in for."""
        if not _is_nameless(lock):
            return lock.__reduce_ex__(2)
        if not self.stands_in:
            raise NotShared("it holds a lock made for the fork start method")
        if id(lock) not in self.twins:
            self.twins[id(lock)] = lock, getattr(get_context("spawn"), type(lock).__name__)()
        return self.twins[id(lock)][1].__reduce_ex__(2)

    def tell(self, known: int) -> None:
        """Say of the locks that are stood in for, except for the first ``known`` ones, what that means."""
        for lock, _ in list(self.twins.values())[known:]:
            _log.warning(
                "a multiprocessing.%s made for the fork start method cannot reach the workers: they "
                "share one among themselves that this process does not take part in. Make it with "
                'multiprocessing.get_context("spawn") to share it with them.',
                type(lock).__name__,
            )

    def close(self) -> None:
        """Close the descriptors, and keep nothing alive any more; takes no lock."""
        while self.fds:
            os.close(self.fds.pop())
        self.twins.clear()


def _reduce_semaphore(semaphore: Any) -> Any:
    # A stand-in would not do: a queue counts its items with one, an event is one, on both sides. And
    # Python 3.10 would pass on an address of this process's memory.
    if _is_nameless(semaphore):
        raise NotShared(
            "a multiprocessing Queue, Event, Condition or Semaphore made for the fork start method cannot "
            'reach the workers. Make it with multiprocessing.get_context("spawn").'
        )
    return semaphore.__reduce_ex__(2)


def _is_nameless(lock: Any) -> bool:
    name = lock._semlock.name
    if name is None:
        return True
    nameless = getattr(lock, "_is_fork_ctx", None)
    return bool(not os.path.exists("/dev/shm/sem." + name.lstrip("/")) if nameless is None else nameless)


class _StartingPickler(_ByValuePickler):
    def __init__(self, file: Any, start: Start, references: References | None, *, files: bool) -> None:
        self._files = files
        tables: list[Any] = [
            ForkingPickler(io.BytesIO()).dispatch_table,
            cloudpickle.Pickler.dispatch_table,
        ]
        if os.name == "posix":
            tables.insert(0, dict.fromkeys((synchronize.Lock, synchronize.RLock), start.reduce_lock))
            semaphores = (synchronize.Semaphore, synchronize.BoundedSemaphore)
            tables.insert(0, dict.fromkeys(semaphores, _reduce_semaphore))
        # Before: it is looked up once.
        self.dispatch_table: Any = ChainMap(*tables)
        super().__init__(file, references)

    def reducer_override(self, obj: Any) -> Any:
        if not self._files and isinstance(obj, io.TextIOWrapper) and obj not in (sys.stdout, sys.stderr):
            raise pickle.PicklingError("it is an open file")
        return super().reducer_override(obj)


def _dump_starting(
    obj: Any, file: Any, start: Start, references: References | None, *, files: bool = False
) -> None:
    set_spawning_popen: Any = multiprocessing.context.set_spawning_popen
    twins = len(start.twins)
    set_spawning_popen(start)
    try:
        _StartingPickler(file, start, references, files=files).dump(obj)
    except NotShared:
        # What else it consists of is no news.
        for key in list(start.twins)[twins:]:
            del start.twins[key]
        raise
    finally:
        set_spawning_popen(None)
    start.tell(twins)


def dump_inherited(obj: Any, start: Start, references: References | None = None) -> bytes:
    """Return the pickle of what a starting process may be given; what it needs is in ``start``."""
    buffer = io.BytesIO()
    _dump_starting(obj, buffer, start, references, files=True)
    return buffer.getvalue()


def dump_global(value: Any, start: Start, references: References) -> memoryview:
    """Return the pickle of a global; what it needs is in ``start``.

    Raises:
        NotShared: workers could only have a private copy of something that is meant to be shared.
    """
    buffer = io.BytesIO()
    _dump_starting(value, buffer, start, references)
    return buffer.getbuffer()


def is_same(value: Any, references: References, record: Any) -> bool:
    """Return whether :func:`dump_global` makes of a value what is in a record."""
    start = Start()
    try:
        _dump_starting(value, Comparing(record), start, references)
    except Exception:
        return False
    finally:
        start.close()
    return bool(record.left == 0)


def receive_descriptors(fds: list[int]) -> None:
    """Have what is unpickled from now on find the descriptors that came along with it."""
    _inherited[:] = fds

"""What becomes bytes and how: calls, results, errors, and the initializer with what it inherits.

Plain ``pickle`` is faster and its classes stay the same on both sides, but it names everything by
its module. So it is used only where the other side can import every module that is named;
``cloudpickle`` sends the rest by value: lambdas, local functions. What becomes of the main module's objects
is up to *references*: those of an executor (``_serialize.exports``) in the parent, those of the process
(``_serialize.namespace``) in a worker.
"""

from __future__ import annotations

import contextlib
import copyreg
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
from functools import cached_property, lru_cache, partial
from itertools import chain
from math import fsum
from multiprocessing import get_context, synchronize
from multiprocessing.reduction import ForkingPickler
from operator import mul
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol, TypeVar

import cloudpickle

from .._locks import Lock
from .._log import Log
from .diagnostics import HEAVY_BYTES, name_of, tell_heavy, tell_unfit
from .object_state import reduce_cell
from .outcomes import ATOMS
from .payload import Parts, Picker, Pickled, Unpickled, load

__all__ = [
    "HEAP_TYPE",
    "LAZY",
    "GlobalPickler",
    "NotShared",
    "References",
    "Start",
    "are_numbers",
    "can_import",
    "drop_traceback",
    "dump",
    "dump_apart",
    "dump_args",
    "dump_call",
    "dump_error",
    "dump_function",
    "dump_global",
    "dump_inherited",
    "dump_parts",
    "is_interrupt",
    "load_apart",
    "load_error",
    "look_again",
    "name_of",
    "receive_descriptors",
    "refer_by",
    "remote_traceback",
    "summary",
    "text_of",
]

T = TypeVar("T")

_log = Log()

# What a global that is imported lazily is until its first use, since Python 3.15.
LAZY: tuple[Any, ...] = (getattr(types, "LazyImportType"),) if hasattr(types, "LazyImportType") else ()  # noqa: B009

# The class that users of the standard library's pool know as the cause of a remote exception.
_RemoteTraceback: Any = _stdlib_process._RemoteTraceback

_dumps = pickle.dumps
_PROTOCOL = pickle.HIGHEST_PROTOCOL
_all_atoms = ATOMS.issuperset
_all_numbers = frozenset({int, float, bool}).issuperset

# What is named in a pickle: by `functools.lru_cache` a function becomes an object that names itself as well.
_NAMED = (type, FunctionType, type(lru_cache(lambda: None)))

# Of modules that no search could tell of.
_known = {"__main__": False, "__mp_main__": False, "builtins": True}
# What a search has told of a module, by its name: of which object in `sys.modules`, as another may take its
# place, and whether an import elsewhere finds the same. Any thread may look again; it comes to the same.
_importable: dict[str, tuple[Any, bool]] = {}
# With which paths and finders that was.
_searched: tuple[list[Any], list[Any]] = ([], [])
# Names of modules that cloudpickle has been told to send by value.
_by_value: set[str] = set()
# A class that a class statement has made, and no C code.
HEAP_TYPE = 1 << 9


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
    _known["__mp_main__"] = imported
    _importable.clear()


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
            name = obj.__module__
            if not can_import(name) or (name not in sys.modules and _is_made_by_python(obj)):
                # An import of a module that is not here could only bring another object of that name.
                raise _ByValue
        return NotImplemented


class _ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: Any, references: References | None, pick: Picker | None = None) -> None:
        super().__init__(file, _PROTOCOL, buffer_callback=pick)
        self._references = references

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _NAMED):
            if self._references is not None:
                reduced = self._references.reduce(obj)
                if reduced is not None:
                    return reduced
            # cloudpickle takes all of `sys.modules` for importable, but for what this call registers.
            can_import(obj.__module__)
        elif isinstance(obj, ModuleType):
            can_import(obj.__name__)
        if type(obj) is CellType:
            return reduce_cell(obj)
        if type(obj) is cached_property:
            # It has a lock of its own, up to Python 3.11.
            return _make_cached_property, (obj.func, obj.attrname)
        odd: Any = obj
        if type(odd).__module__ == "_ctypes" and hasattr(odd, "_length_"):
            # An array's class, which belongs to the module that was running when it was first asked for.
            return mul, (odd._type_, odd._length_)
        if isinstance(odd, LAZY):
            # It has no name that could be sent.
            return _itself, (odd.resolve(),)
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


def _is_made_by_python(obj: Any) -> bool:
    return bool(obj.__flags__ & HEAP_TYPE) if isinstance(obj, type) else obj.__module__ is not None


def can_import(name: str | None) -> bool:
    """Return whether another process with our ``sys.path`` gets by this name the module that we have."""
    if name is None:
        return True
    found = _importable.get(name)
    if found is None or found[0] is not sys.modules.get(name):
        found = _importable[name] = _look_for(name)
    return found[1]


def look_again() -> None:
    """Forget what was found by name, if ``sys.path`` or the finders are not what they were."""
    global _searched
    now = list(sys.path), list(sys.meta_path)
    if now != _searched:
        _searched = now
        _importable.clear()


def _look_for(name: str) -> tuple[Any, bool]:
    module = sys.modules.get(name)
    known = _known.get(name)
    if known is not None:
        return module, known
    found = _search(name, module)
    if isinstance(module, ModuleType):
        # cloudpickle would name the module as well. It refuses this for one that is here by another name.
        with contextlib.suppress(ValueError):
            if not found:
                cloudpickle.register_pickle_by_value(module)
                _by_value.add(name)
            elif name in _by_value:
                _by_value.discard(name)
                cloudpickle.unregister_pickle_by_value(module)
    return module, found


def _search(name: str, module: Any) -> bool:
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
        finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
        specs = (finder.find_spec(name, path) for finder in finders)
        spec = next((spec for spec in specs if spec is not None), None)
        return spec is not None and (module is None or _is_of(module, spec))
    except Exception:
        return True


def _is_of(module: Any, spec: Any) -> bool:
    """Return whether a module is what an import by this spec would make, and not from another place."""
    # Not by `getattr`: what stands there may be an object that makes up its attributes.
    namespace = object.__getattribute__(module, "__dict__")
    own = namespace.get("__spec__")
    place = own.origin if own is not None and own.has_location else None
    files = {place, namespace.get("__file__")} - {None}
    if own is None and not files and type(module) is not ModuleType:
        # A module that puts an object in its place does so elsewhere too. A plain one is made by the program.
        return True
    if own is not None and own.name != spec.name:
        # A second name, given by a package to one of its modules, as to `collections.abc`.
        return True
    if spec.has_location:
        return any(_is_same_file(file, spec.origin) for file in files)
    loaders = {type(one.loader) for one in (own, spec) if one is not None and one.loader is not None}
    return own is not None and place is None and len(loaders) < 2


def _is_same_file(file: str, other: str) -> bool:
    try:
        return file == other or os.path.samefile(file, other)
    except OSError:
        # It was removed after its import.
        return False


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


# An exception may refuse attributes, as a frozen dataclass does. By these it is as the interpreter has it.
_cause = vars(BaseException)["__cause__"]
_traceback = vars(BaseException)["__traceback__"]


def drop_traceback(error: BaseException) -> None:
    """Have an exception keep no frames alive."""
    _traceback.__set__(error, None)


class _Refusing:
    """Becomes, where it is unpickled, an exception whose class has a ``__setattr__`` of its own.

    A plain pickle has attributes set by that, where objects of other classes have them put back as they were.
    """

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        return _make_refusing, (type(self._error), self._error.args, vars(self._error))


def _make_refusing(cls: Any, args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error: BaseException = cls(*args)
    vars(error).update(attributes)
    return error


def _refuses_attributes(cls: type) -> bool:
    """Return whether a class decides itself what becomes of attributes, and not how it is pickled."""
    own: set[str] = set()
    for base in cls.__mro__[: cls.__mro__.index(BaseException)]:
        if base.__flags__ & HEAP_TYPE:
            own.update(vars(base))
    return "__setattr__" in own and own.isdisjoint({"__reduce__", "__reduce_ex__", "__setstate__"})


def dump_error(error: BaseException) -> bytes:
    """Return an exception with its traceback as text; an unpicklable one keeps its text."""
    text = text_of(error)
    try:
        body: bytes | None = dump(_Refusing(error) if _refuses_attributes(type(error)) else error)[0]
        reason = ""
    except BaseException as exc:
        body, reason = None, summary(exc)
    return pickle.dumps((body, reason, summary(error), text), pickle.HIGHEST_PROTOCOL)


def text_of(error: BaseException) -> str:
    """Return an error with its traceback, as it would be printed; raises nothing that is an ``Exception``."""
    frames = _traceback.__get__(error)
    parts = type(error), error, frames
    with contextlib.suppress(Exception):
        return "".join(traceback.format_exception(*parts))
    try:
        # Python 3.15 warns of frames of a main module that was imported, and warnings may be errors.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "".join(traceback.format_exception(*parts))
    except Exception as unfit:
        # The error may have attributes that raise.
        with contextlib.suppress(Exception):
            return "".join((*traceback.format_tb(frames), summary(error), "\n"))
        # Sources are asked of the loaders of modules, which may be anything.
        return f"{summary(error)}\n(Its traceback cannot be printed: {summary(unfit)})\n"


def load_error(body: Pickled) -> BaseException:
    """Return the exception that :func:`dump_error` was given, its remote traceback as cause."""
    error: BaseException
    if isinstance(body, Unpickled):
        error = body.load()
        if isinstance(error, KeyboardInterrupt):
            # So that it is known for a task's; see `is_interrupt`.
            _cause.__set__(error, _RemoteTraceback(text_of(error)))
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
    _cause.__set__(error, _RemoteTraceback(text))
    return error


def remote_traceback(error: BaseException) -> str | None:
    """Return the traceback that a worker has written of an error; None for an error of this process."""
    cause: Any = error.__cause__
    return str(cause.tb) if isinstance(cause, _RemoteTraceback) else None


def _drop_frames(error: BaseException | None) -> None:
    """Drop tracebacks that came along, as Dask has them do: their frames hold those that are running here."""
    while error is not None and error.__traceback__ is not None:
        drop_traceback(error)
        error = error.__cause__ or error.__context__


def is_interrupt(error: BaseException | None) -> bool:
    """Return whether this is Ctrl-C; a ``KeyboardInterrupt`` of a task is an error as others are."""
    return isinstance(error, KeyboardInterrupt) and not isinstance(error.__cause__, _RemoteTraceback)


def summary(error: BaseException) -> str:
    """Return an error's class and text in one line or more."""
    try:
        return f"{type(error).__qualname__}: {error}"
    except BaseException:
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
        if isinstance(obj, MethodType) and getattr(obj.__self__, obj.__name__, None) != obj:
            # The program has put another function there since, or one of another name.
            return MethodType, (obj.__func__, obj.__self__)
        return super().reducer_override(obj)


class GlobalPickler:
    """Pickles globals of the main module one after the other; they share the pickler's memo.

    Args:
        file: is written to.
        start: takes what a starting process must be given.
        references: how to refer to the main module's objects.
        files: open files may be in what is pickled, as standard streams by cloudpickle.
    """

    def __init__(
        self, file: Any, start: Start, references: References | None, *, files: bool = False
    ) -> None:
        self._start = start
        self._pickler: Any = _StartingPickler(file, start, references, files=files)

    @property
    def memo(self) -> dict[int, tuple[int, Any]]:
        """What has been pickled: place and object, by identity."""
        copied: dict[int, tuple[int, Any]] = self._pickler.memo.copy()
        return copied

    @memo.setter
    def memo(self, memo: dict[int, tuple[int, Any]]) -> None:
        self._pickler.memo = memo

    def dump(self, obj: Any) -> None:
        """Write the pickle of one.

        Raises:
            NotShared: workers could only have a private copy of something that is meant to be shared.
        """
        set_spawning_popen: Any = multiprocessing.context.set_spawning_popen
        start = self._start
        twins = len(start.twins)
        set_spawning_popen(start)
        try:
            self._pickler.dump(obj)
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
    GlobalPickler(buffer, start, references, files=True).dump(obj)
    return buffer.getvalue()


def dump_global(value: Any, start: Start, references: References) -> memoryview:
    """Return the pickle of a global; what it needs is in ``start``.

    Raises:
        NotShared: workers could only have a private copy of something that is meant to be shared.
    """
    buffer = io.BytesIO()
    GlobalPickler(buffer, start, references).dump(value)
    return buffer.getbuffer()


# Their types have reducers for starting processes, and need none: anything can be made of them anywhere.
_ANYWHERE = (partial, MethodType, type(list.append), type(int.__add__))


class _ApartPickler(_ByValuePickler):
    def __init__(self, file: Any, references: References | None) -> None:
        super().__init__(file, references)
        self.apart: list[Any] = []
        self._reducers = ForkingPickler(io.BytesIO()).dispatch_table

    def persistent_id(self, obj: Any) -> int | None:
        kind = type(obj)
        if not kind.__module__.startswith("multiprocessing.") and (
            isinstance(obj, _ANYWHERE) or kind in _COPIED or kind not in self._reducers
        ):
            return None
        self.apart.append(obj)
        return len(self.apart) - 1


# What `copyreg` knows is in that table as well.
_COPIED = frozenset(copyreg.dispatch_table)


class _ApartUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, apart: list[Any]) -> None:
        super().__init__(file)
        self._apart = apart

    def persistent_load(self, pid: Any) -> Any:
        return self._apart[pid]


def dump_apart(obj: Any, references: References | None = None) -> tuple[bytes, list[Any]]:
    """Return the pickle of something without what only a starting process can be given, and that.

    Raises:
        NotShared: some of it was made for the fork start method.
    """
    buffer = io.BytesIO()
    pickler = _ApartPickler(buffer, references)
    pickler.dump(obj)
    if pickler.apart and os.name == "posix":
        # It is pickled when a process is started, whose error would come late.
        trial = Start()
        trial.stands_in = False
        try:
            dump_inherited(pickler.apart, trial)
        finally:
            trial.close()
    return buffer.getvalue(), pickler.apart


def load_apart(data: bytes, apart: list[Any]) -> Any:
    """Return what :func:`dump_apart` was given, with what was left apart as it is in this process."""
    return _ApartUnpickler(io.BytesIO(data), apart).load()


def receive_descriptors(fds: list[int]) -> None:
    """Have what is unpickled from now on find the descriptors that came along with it."""
    _inherited[:] = fds

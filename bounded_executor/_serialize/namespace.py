"""The one namespace that all code of the main module has in a process, and what arrives in it.

Pickles refer to the functions here. What the main module has at its top level is looked up by name. What has
no name in the process arrives by value, and its functions get this namespace as their globals, not a copy.
Values of globals arrive in the executor's store (``_serialize.store``), each once per process: a *manifest*
there lists those that a function uses, and each has the place of its record as its version.

A value that arrives replaces an older one that had arrived. It never replaces what the process has assigned
itself, unless the parent's assignment is the newer one, nor what the import of the main module has made in
the same way.

Used by the thread that runs tasks, and by the supervisor before there are workers.
"""

from __future__ import annotations

import importlib
import io
import marshal
import pickle
import struct
import sys
from collections import deque
from collections.abc import Iterable
from functools import lru_cache, singledispatch
from itertools import count
from operator import attrgetter
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

from .._log import Log
from . import object_state, pickling
from .store import Record

__all__ = [
    "HEADER_SIZE",
    "NAMES",
    "Entry",
    "Global",
    "Header",
    "Package",
    "Value",
    "adopt",
    "apply",
    "apply_log_setup",
    "explain",
    "function_named",
    "home",
    "install",
    "make_cached",
    "make_dispatching",
    "make_function",
    "named",
    "open_store",
    "reduce_function",
    "referred",
    "register",
    "resolve",
    "returned",
    "sent",
    "set_function_state",
]

NAMES = ("__main__", "__mp_main__")

_MISSING: Any = object()
# Manifests that are remembered as known; a program may make any number.
MANY_MANIFESTS = 10_000
_CACHED = type(lru_cache(lambda: None))
_marshalled: dict[CodeType, bytes] = {}
_numbers = count(1)
# Formats of buffers without references.
_NUMBERS = frozenset("bBhHiIlLqQfd?")
HEADER_SIZE = struct.Struct("<Q")


class Entry(NamedTuple):
    """What a manifest lists: a function or class that goes by value, values of globals, or that one is unfit.

    Attributes:
        names: the global's; several for values that share objects. ``Class.attribute`` is an attribute,
            ``name()`` the state of a function or class, and ``name[0]`` the first cell of a function.
        offset: where its record is; -1: there is none.
        version: the higher one is the newer one.
        inline: what the record would have, where it changes so often that there is none.
        is_object: a function or a class, which tasks may also refer to by the offset.
        text: why it could not be pickled.
    """

    names: tuple[str, ...]
    offset: int
    version: int
    inline: bytes | None
    is_object: bool
    text: str


class Header(NamedTuple):
    """What a record with values begins with, as a pickle.

    Attributes:
        known: globals that the values refer to, and that the reader has.
        values: in the order of their pickles.
        parts: names of values that a reader can do without, as its import has made some.
    """

    known: tuple[str, ...]
    values: tuple[Value, ...]
    parts: frozenset[str]


class Value(NamedTuple):
    """One value in a record.

    Attributes:
        name: as in :class:`Entry`.
        rebinds: the parent may have assigned it anew, rather than only changed the object.
        size: of its pickle, in bytes.
        before: how many objects of the record had numbers before; see ``_serialize.sequence``.
    """

    name: str
    rebinds: bool
    size: int
    before: int


_home: dict[str, Any] | None = None
_log = Log()
_fd = -1
# Number by which the program's process knows the executor whose worker this is.
_sender = -1
# In a program's process: who has sent objects by value.
_senders: WeakValueDictionary[int, Sender] = WeakValueDictionary()
# What the import has bound; None where nothing was imported.
_baseline: dict[str, Any] | None = None
# Attributes of the classes among that, by the identity of the class.
_attributes: dict[int, dict[str, Any]] = {}
_applied: dict[str, int] = {}
# The objects that arrived, or that the process had and has kept instead.
_kept: dict[str, Any] = {}
_manifests: set[int] = set()
_objects: dict[int, Any] = {}
_offsets: dict[int, int] = {}  # the other way round, by identity
_unfit: dict[str, str] = {}


# What names the globals that an object uses: the place of a manifest, -1 for none, or that with entries that
# are in no manifest.
Reference = int | tuple[int, tuple[Entry, ...]]


class _Alias(ModuleType):
    """Stands for a main module that has no entry of its own in ``sys.modules``, as under a profiler."""

    def __getattr__(self, name: str) -> Any:
        if _home is not None and name in _home and not name.startswith("__"):
            return _home[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def adopt(namespace: dict[str, Any]) -> None:
    """In a program's process: have what comes back from workers find its classes in this namespace."""
    global _home
    _home = namespace
    main = sys.modules.get("__main__")
    if main is not None and main.__dict__ is namespace:
        sys.modules["__mp_main__"] = main
    else:
        sys.modules["__mp_main__"] = _Alias("__mp_main__")


def install(namespace: dict[str, Any], *, imported: bool) -> None:
    """In a supervisor or worker: use this namespace, as the import has left it."""
    global _home, _baseline
    _home = namespace
    _baseline = dict(namespace) if imported else None
    _attributes.clear()
    if imported:
        _remember(namespace)
    pickling.refer_by(_LocalReferences(), imported=imported)


def _remember(namespace: dict[str, Any]) -> None:
    """Note the attributes of all classes that the main module has defined in a namespace."""
    for value in namespace.values():
        # Not `isinstance`, which asks objects that may be proxies.
        if not issubclass(type(value), type) or id(value) in _attributes:
            continue
        if value.__module__ in NAMES:
            _attributes[id(value)] = attributes = dict(vars(value))
            _remember(attributes)


def open_store(fd: int, sender: int) -> None:
    """Read what arrives from this descriptor.

    Args:
        fd: of the store.
        sender: number by which the program's process knows the executor.
    """
    global _fd, _sender
    _fd, _sender = fd, sender


class Sender(Protocol):
    """Has the objects that it has sent."""

    def sent_object(self, offset: int) -> Any:
        """Return what is in a record."""
        ...


def register(sender: Sender) -> int:
    """In a program's process: have what comes back find the objects of this one; return its number."""
    number = next(_numbers)
    _senders[number] = sender
    return number


def returned(sender: int, offset: int, path: tuple[str, ...]) -> Any:
    """Return a function or class that was sent by value and comes back, or an attribute of it."""
    owner = _senders.get(sender)
    if sender == _sender:
        found = _object(offset)
    elif owner is not None:
        found = owner.sent_object(offset)
    else:
        raise pickle.UnpicklingError(
            "the result refers to a function or class of the main module, and its executor is gone"
        )
    for attribute in path:
        found = getattr(found, attribute)
    return found


def home() -> dict[str, Any]:
    """Return the main module's globals."""
    return sys.modules["__main__"].__dict__ if _home is None else _home


# What pickles refer to


def resolve(namespace: dict[str, Any], qualname: str) -> Any:
    """Return what a dotted name stands for; raises AttributeError if there is none."""
    top, *path = qualname.split(".")
    found = namespace.get(top, _MISSING)
    if found is _MISSING:
        raise AttributeError(f"the main module has no {top!r} in this process")
    for attribute in path:
        found = getattr(found, attribute)
    return found


def named(qualname: str) -> Any:
    """Return what the main module has by this name."""
    return resolve(home(), qualname)


class Global:
    """Becomes, where it is unpickled, what the main module, or another one, has by a name.

    Args:
        module: name of a module; empty for the main module.
        path: names of attributes, joined by dots.
    """

    def __init__(self, module: str, path: str) -> None:
        self._found = module, path

    def __reduce__(self) -> Any:
        return _find_global, self._found


class Package:
    """Becomes, where it is unpickled, a package of which some modules are imported.

    Args:
        name: of the package.
        modules: full names.
    """

    def __init__(self, name: str, modules: tuple[str, ...]) -> None:
        self._found = name, modules

    def __reduce__(self) -> Any:
        return _import_package, self._found


def _import_package(name: str, modules: tuple[str, ...]) -> ModuleType:
    for one in modules:
        importlib.import_module(one)
    return importlib.import_module(name)


def _find_global(module: str, path: str) -> Any:
    if not module:
        return named(path)
    return attrgetter(path)(importlib.import_module(module))


def referred(manifest: Reference, qualname: str) -> Any:
    """Do the same, and have the globals of a manifest first."""
    apply(manifest)
    return named(qualname)


def sent(offset: int, path: tuple[str, ...], manifest: Reference) -> Any:
    """Return a function or class that came by value, or an attribute of it.

    Args:
        offset: where its record is.
        path: the attribute, if it is one.
        manifest: lists the globals that it uses; -1: none, or others see to them.
    """
    apply(manifest)
    found = _object(offset)
    for attribute in path:
        found = getattr(found, attribute)
    return found


def make_function(
    code: bytes, name: str, cells: tuple[CellType, ...], manifest: Reference = -1
) -> FunctionType:
    """Return a function of the main module that came by value; its state is set afterwards.

    Args:
        code: marshalled, so that it has its file and its lines.
        name: the function's.
        cells: the variables of functions around it that it has.
        manifest: as with :func:`sent`.
    """
    apply(manifest)
    return FunctionType(_load_code(code), home(), name, None, cells or None)


def make_cached(function: Any, parameters: dict[str, Any]) -> Any:
    """Return a function with the cache that :func:`functools.lru_cache` makes, which is empty."""
    return lru_cache(**parameters)(function)


def make_dispatching(registry: tuple[tuple[Any, Any], ...]) -> Any:
    """Return the function that :func:`functools.singledispatch` makes of these, the base first."""
    (_, base), *others = registry
    function = singledispatch(base)
    for cls, implementation in others:
        function.register(cls, implementation)
    return function


@lru_cache(maxsize=256)
def _load_code(code: bytes) -> CodeType:
    loaded: CodeType = marshal.loads(code)
    return loaded


def set_function_state(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Set what a function made by :func:`make_function` lacks."""
    attributes, slots = state
    function.__dict__.update(attributes)
    for name, value in slots.items():
        setattr(function, name, value)


# What arrives


def apply_log_setup(offset: int) -> None:
    """Configure ``logging`` as a record says, unless that was done where this process was forked."""
    if offset < 0 or offset in _manifests:
        return
    _manifests.add(offset)
    # Not at the top: only then does a process need it.
    from . import log_setup

    log_setup.apply(_load(offset))


def apply(manifest: Reference) -> None:
    """Have the globals that a reference names, as far as they are newer than what is here."""
    if isinstance(manifest, tuple):
        manifest, entries = manifest
        apply(manifest)
        _take(entries)
        return
    if manifest < 0 or manifest in _manifests:
        return
    if len(_manifests) > MANY_MANIFESTS:
        # To look at one again changes nothing.
        _manifests.clear()
    # Before: what arrives may refer to the same manifest.
    _manifests.add(manifest)
    try:
        _take(_load(manifest))
    except BaseException:
        _manifests.discard(manifest)
        raise


def _take(entries: Iterable[Entry]) -> None:
    for entry in entries:
        if entry.text:
            _unfit.update(dict.fromkeys(entry.names, entry.text))
        elif any(entry.version > _applied.get(name, -1) for name in entry.names):
            if entry.is_object:
                (name,) = entry.names
                _bind(name, _object(entry.offset))
            else:
                _take_values(entry)
            for name in entry.names:
                _applied[name] = max(entry.version, _applied.get(name, -1))


def explain(error: BaseException) -> None:
    """Have an error that names a missing global say why it is missing, where that is known."""
    while isinstance(error, Exception):
        name = getattr(error, "name", None)
        if isinstance(error, NameError) and name in _unfit and name not in home():
            error.args = (f"{error}: {_unfit[name]}",)
        elif isinstance(error, AttributeError) and error.obj is None and _unfit:
            for one in _names_where(error):
                if one in _unfit and home().get(one, error) is None:
                    error.args = (f"{error}: {_unfit[one]}",)
        inner = error.__cause__ or error.__context__
        if inner is None or inner is error:
            return
        error = inner


def _names_where(error: BaseException) -> tuple[str, ...]:
    """Return the globals and attributes that the code names which has raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_globals is not home():
        return ()
    return trace.tb_frame.f_code.co_names


def _take_values(entry: Entry) -> None:
    """Take what is new of the values in a record, and leave the process what it has already."""
    # Not at the top: a program's process imports this module first.
    from .sequence import Reader

    record = Record(_fd, entry.offset) if entry.inline is None else io.BytesIO(entry.inline)
    (size,) = HEADER_SIZE.unpack(record.read(HEADER_SIZE.size))
    header: Header = pickle.loads(record.read(size))
    reader = Reader(_COMPARED, [_known(name) for name in header.known])
    failure: Exception | None = None
    for value in header.values:
        pickled: Any = (
            record.take(value.size) if isinstance(record, Record) else io.BytesIO(record.read(value.size))
        )
        name = value.name
        own = _own(name)
        has_arrived = entry.version <= _applied.get(name, -1)
        was_assigned = not has_arrived and _was_assigned(name, own)
        # What a task has assigned is its own: other values share with what was there before.
        mine = _kept.get(name, _MISSING) if has_arrived else _imported(name, own) if was_assigned else own
        if failure is None and mine is not _MISSING and (has_arrived or _baseline is not None):
            if isinstance(pickled, Record) and reader.is_next(mine, pickled, value.before):
                _keep(name, mine)
                continue
            pickled = pickled.again() if isinstance(pickled, Record) else pickled
        try:
            if failure is not None:
                raise failure
            new = reader.load(pickled)
        except Exception as error:
            why = pickling.summary(error)
            text = f"the main module's {name} cannot be unpickled in a worker process ({why})"
            if own is _MISSING or name not in header.parts:
                raise pickle.UnpicklingError(text) from error
            if failure is None:
                _log.warning("%s, which keeps what its own import has made", text)
            # From here on the reader lacks what the others may share with this one.
            failure = error
            continue
        if has_arrived or was_assigned:
            if has_arrived and mine is not _MISSING:
                reader.replace(new, mine)
            else:
                _keep(name, new)
        elif (
            own is not _MISSING
            and (type(own) is CellType or (_baseline is not None and not value.rebinds))
            and _update(own, new)
        ):
            reader.replace(new, own)
            _keep(name, own)
        else:
            _bind(name, new)
            _keep(name, new)


def _keep(name: str, value: Any) -> None:
    """Note the object that stands for a global of the parent's, as later values may refer to it."""
    if not name.endswith((")", "]")):
        _kept[name] = value


def _known(name: str) -> Any:
    try:
        return _kept[name]
    except KeyError:
        raise pickle.UnpicklingError(f"the main module's {name} has not arrived in this process") from None


def _own(name: str) -> Any:
    """Return what this process has for a name in an entry."""
    if name.endswith("()"):
        found = _function(name[:-2])
        return _MISSING if found is _MISSING else object_state.state_of(found)
    if name.endswith("]"):
        function, _, place = name[:-1].rpartition("[")
        cells = getattr(_function(function), "__closure__", None) or ()
        return cells[int(place)] if int(place) < len(cells) else _MISSING
    holder, attribute = _holder_of(name)
    if isinstance(holder, type):
        return holder.__dict__.get(attribute, _MISSING)
    return holder.get(attribute, _MISSING)


def _was_assigned(name: str, own: Any) -> bool:
    """Return whether a task, or the initializer, has assigned a global that has never arrived."""
    if own is _MISSING or _baseline is None or name in _applied or name.endswith((")", "]")):
        return False
    return _imported(name, own) is not own


def _imported(name: str, own: Any) -> Any:
    """Return what the import has bound by a name."""
    holder, attribute = _holder_of(name)
    if isinstance(holder, type):
        return _attributes.get(id(holder), {attribute: own}).get(attribute, _MISSING)
    return (_baseline or {}).get(attribute, _MISSING)


def _bind(name: str, new: Any) -> None:
    if name.endswith("()"):
        owner = _function(name[:-2])
        if owner is not _MISSING:
            object_state.set_state(owner, new, _attributes.get(id(owner), {}))
        return
    if name.endswith("]"):
        # The function is not here: it was replaced or deleted.
        return
    holder, attribute = _holder_of(name)
    if isinstance(holder, type):
        setattr(holder, attribute, new)
    else:
        holder[attribute] = new


def function_named(namespace: dict[str, Any], name: str) -> Any:
    """Return the function or class that has a name; raises AttributeError if there is none."""
    found = resolve(namespace, name)
    return found.__func__ if isinstance(found, MethodType) else found


def _function(name: str) -> Any:
    try:
        return function_named(home(), name)
    except AttributeError:
        return _MISSING


def _holder_of(name: str) -> tuple[Any, str]:
    """Return the class or the dictionary that has a name, which is an empty one if it has gone."""
    top, dot, attribute = name.rpartition(".")
    if not dot:
        return home(), name
    found = _function(top)
    return (found if isinstance(found, type) else {}), attribute


def _update(own: Any, new: Any) -> bool:
    """Change an object in place into what it is in the parent; return whether that can be done."""
    if own is new:
        # Its class makes no second one.
        return True
    if type(own) is not type(new):
        return False
    if type(own) is CellType:
        object_state.set_cell(own, object_state.reduce_cell(new)[2])
    elif isinstance(own, (dict, set)) and type(own) in (dict, set):
        own.clear()
        own.update(new)
    elif isinstance(own, (list, bytearray)) and type(own) in (list, bytearray):
        own[:] = new
    elif type(own) is deque and own.maxlen == new.maxlen:
        own.clear()
        own.extend(new)
    elif _is_plain(type(own)) and hasattr(own, "__dict__"):
        own.__dict__.clear()
        own.__dict__.update(new.__dict__)
    else:
        return _overwrite(own, new)
    return True


def _overwrite(own: Any, new: Any) -> bool:
    """Do the same to an array of numbers, which others may be views of."""
    try:
        with memoryview(own) as to, memoryview(new) as source:
            if to.format not in _NUMBERS or (to.format, to.shape) != (source.format, source.shape):
                return False
            to.cast("B")[:] = source.cast("B")
    except (TypeError, ValueError, BufferError):
        return False
    return True


def _is_plain(cls: type) -> bool:
    """Return whether objects of a class have nothing but their attributes."""
    ways = (
        "__reduce__",
        "__reduce_ex__",
        "__getstate__",
        "__setstate__",
        "__getnewargs__",
        "__getnewargs_ex__",
    )
    if any(getattr(cls, way, None) is not getattr(object, way, None) for way in ways):
        return False
    return not hasattr(cls, "__del__") and all(
        base is object or (base.__flags__ & pickling.HEAP_TYPE and "__slots__" not in vars(base))
        for base in cls.__mro__
    )


def _object(offset: int) -> Any:
    found = _objects.get(offset, _MISSING)
    if found is _MISSING:
        found = _objects[offset] = _load(offset)
        _offsets[id(found)] = offset
        # At once: a class that is made next may ask for this one by its name.
        name = getattr(found, "__qualname__", "")
        if name not in home() and name.isidentifier():
            home()[name] = found
    return found


def _load(offset: int) -> Any:
    return pickle.load(io.BufferedReader(Record(_fd, offset), 1 << 16))


# How this process refers to the main module's objects


def reduce_function(function: FunctionType, manifest: Reference) -> Any:
    """Return what a pickle has for a function of the main module that travels by value."""
    code = function.__code__
    marshalled = _marshalled.get(code)
    if marshalled is None:
        if len(_marshalled) > 1000:
            _marshalled.clear()
        marshalled = _marshalled[code] = object_state.dump_code(code)
    slots = {
        "__qualname__": function.__qualname__,
        # The same in all processes, so that pickles can be compared.
        "__module__": "__main__" if function.__module__ in NAMES else function.__module__,
        "__doc__": function.__doc__,
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__annotations__": function.__annotations__,
    }
    args = marshalled, function.__name__, function.__closure__ or (), manifest
    return make_function, args, (dict(function.__dict__), slots), None, None, set_function_state


class _LocalReferences:
    """How a worker refers to the main module's objects in results."""

    def reduce(self, obj: Any) -> Any:
        """Return what the pickle has for a function or class; None for what is pickled as ever."""
        of_home = isinstance(obj, FunctionType) and obj.__globals__ is home()
        if not of_home and getattr(obj, "__module__", None) not in NAMES:
            return None
        if id(obj) in _offsets:
            return returned, (_sender, _offsets[id(obj)], ())
        name = _own_name(obj)
        if name is not None:
            top, *path = name.split(".")
            offset = _offsets.get(id(named(top)))
            if offset is not None:
                return returned, (_sender, offset, tuple(path))
            if _baseline is not None and obj.__module__ == "__mp_main__":
                return NotImplemented
        return reduce_function(obj, -1) if of_home else None


class _ComparedReferences:
    """How a value of this process is pickled to be compared with one that has arrived: as in the parent."""

    def reduce(self, obj: Any) -> Any:
        """Return what the pickle has for a function or class; None for what is pickled as ever."""
        of_home = isinstance(obj, FunctionType) and obj.__globals__ is home()
        if not of_home and getattr(obj, "__module__", None) not in NAMES:
            return None
        if isinstance(obj, (type, FunctionType, _CACHED)):
            name = _own_name(obj)
            if name is not None:
                return named, (name,)
        function: Any = obj
        return reduce_function(function, -1) if of_home else None


_COMPARED = _ComparedReferences()


def _own_name(obj: Any) -> str | None:
    name = getattr(obj, "__qualname__", None)
    if not isinstance(name, str) or "<" in name:
        return None
    try:
        return name if named(name) is obj else None
    except AttributeError:
        return None

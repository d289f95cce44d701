"""Main-module objects on their way to the workers: by name or by value, with the globals that they use.

What a worker's import of the script binds at its top level goes by name. What the guarded block defines, and
all of a script that cannot be imported, is put into the executor's store once, and tasks refer to it; lambdas
and local functions travel with each task. Either way the globals that a function uses, directly or through
other functions and classes of the script, are put into the store once, and the reference names the manifest
that lists them.

Where the script is imported each global is sent once, as it is when a task that uses it comes first: what
workers make of it afterwards is theirs. Where it is not, a global is sent again when it has changed here
since.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import logging
import pickle
import sys
from collections.abc import Iterable, Iterator
from dis import get_instructions
from enum import Enum
from itertools import count
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary, ref

from .._locks import Lock
from .._log import Log
from . import log_setup, pickling
from . import namespace as _namespace
from .diagnostics import HEAVY_BYTES
from .main_module import Main, MainSpec
from .namespace import HEADER_SIZE, MANY_MANIFESTS, NAMES, Entry, Global, Header, Reference, Value
from .object_state import DISPATCHING, is_special, state_of
from .sequence import Writer
from .store import Record, Store

__all__ = ["Exports"]

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
# Values without parts that could change: what an import binds by them needs no comparison.
_FIXED = (int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented), range)
# Times that a global is put into the store, which only grows. One that changes more often travels with each
# task.
MOST_RECORDS = 16
# Containers that are looked through for functions, as a registry is.
_FEW = 1000
_CONTAINERS = (list, dict, set, tuple, frozenset)
# Objects that are looked at for one global, to find other globals in it.
_MOST_LOOKED_AT = 20_000
_CACHED = type(functools.lru_cache(lambda: None))
_KINDS = (type, FunctionType, _CACHED)
# What is not looked into for other globals.
_OPAQUE = (*_KINDS, ModuleType, str, bytes, int, float)

_names: WeakKeyDictionary[CodeType, tuple[str, ...]] = WeakKeyDictionary()
_attributes: WeakKeyDictionary[CodeType, frozenset[str]] = WeakKeyDictionary()


_log = Log()


class _Sent:
    """What was put into the store for one global."""

    __slots__ = ("digest", "entry", "fixed", "times", "uses", "value")

    def __init__(
        self, entry: Entry, value: Any, uses: tuple[Any, ...], times: int, digest: bytes | None = None
    ) -> None:
        self.entry = entry
        self.times = times
        self.fixed = type(value) in _FIXED
        # A large table that the program has dropped must not be kept here.
        is_small = type(value) in _CONTAINERS and len(value) <= _FEW
        self.value: Any = value if self.fixed else (lambda: value) if is_small else _weakly(value)
        self.uses = uses
        # Of the pickle of the value alone, which tells whether it has changed.
        self.digest = digest

    def is_of(self, value: Any) -> bool:
        """Return whether it was made of this object."""
        if self.fixed:
            return value is self.value or (type(value) is type(self.value) and value == self.value)
        return self.value is not None and self.value() is value


class _Pending(NamedTuple):
    """A value that is to be put into the store.

    Attributes:
        value: the object.
        known: what was in the store for its name when it was looked at.
        digest: of its pickle; None where there is none.
    """

    value: Any
    known: _Sent | None
    digest: bytes | None


class _Changed(Exception):
    """Another thread has put a value into the store meanwhile."""


class Exports:
    """The main module's objects, for the workers of one executor; may be used by any thread.

    ``_lock`` guards ``_sent``, ``_manifests`` and the order of what is in the store. No user code is run
    under it.

    Args:
        main: this process's main module.

    Attributes:
        number: by which workers refer to this object.
        spec: how workers get it.
        start: has what values in the store need, such as file descriptors.
    """

    def __init__(self, main: Main) -> None:
        self.number = _namespace.register(self)
        self.spec: MainSpec = main.spec
        self.start = pickling.Start()
        self._namespace = main.namespace
        self._imports = main.spec.code is not None
        self._is_main = getattr(sys.modules.get("__main__"), "__dict__", None) is main.namespace
        self._lock = Lock()
        self._versions = count()
        self._told: set[str] = set()
        self._store: Store | None = Store()
        self._sent: dict[str, _Sent] = {}
        # Functions and classes that went by value, which come back as themselves.
        self._objects: dict[int, Any] = {}
        self._manifests: dict[tuple[Entry, ...], int] = {}
        self._references: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        # Names that pickles refer to, which must be there in some other way if the import fails.
        self._used: set[str] = set()
        # What the initializer refers to. Its globals are sent with those of the first task, and not before:
        # until then the program may set them.
        self._early: list[Any] = []
        self._early_names: set[str] = set()
        self._is_early = True
        # Modules that are loaded, by the prefix of their package, and how many there were when it was made.
        self._loaded: tuple[int, dict[str, list[str]]] = (0, {})

    @property
    def imports(self) -> bool:
        """Whether workers import the main module."""
        return self._imports

    @property
    def store_fd(self) -> int:
        """The descriptor of the store; there is one until :meth:`close`."""
        assert self._store is not None
        return self._store.fd

    def stored_since(self, offset: int) -> bytes:
        """Return what was put into the store from a place on, for workers that have a copy of it."""
        return b"" if self._store is None else self._store.since(offset)

    def is_of_main(self, obj: Any) -> bool:
        """Return whether an object belongs to the main module."""
        if isinstance(obj, FunctionType) and obj.__globals__ is self._namespace:
            return True
        return getattr(obj, "__module__", None) in NAMES

    def is_copied(self, fn: FunctionType) -> bool:
        """Return whether a function of another module can only go by value, with a copy of its globals."""
        if fn.__globals__ is self._namespace or self._name_in_import(fn) is not None:
            return False
        found: Any = sys.modules.get(fn.__module__)
        for name in fn.__qualname__.split("."):
            found = getattr(found, name, None)
        return found is not fn

    def goes_by_name(self, fn: Any) -> bool:
        """Return whether workers have this function by its name, and for good."""
        return self._imports and self._name_in_import(fn) is not None

    def end_of_initializer(self) -> None:
        """Note that the initializer is pickled, and that what follows belongs to tasks."""
        self._is_early = False

    def as_initializer(self, function: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Return an initializer and its arguments as they are to be pickled.

        A process that is forked has the very objects that the program has in its globals, and what the
        initializer does to them is seen by tasks. So these go by the names that they have in the main module,
        and a method of an object in another module, as ``random.seed`` is one, goes by its name there.
        """
        owner = getattr(function, "__self__", None)
        name = getattr(function, "__name__", "")
        if owner is not None and not isinstance(owner, (type, ModuleType)) and isinstance(name, str):
            module = sys.modules.get(type(owner).__module__)
            top = self._global_name(owner)
            if top is not None and getattr(owner, name, None) == function:
                function = Global("", f"{top}.{name}")
            elif (
                module is not None
                and getattr(module, name, None) == function
                and pickling.can_import(module.__name__)
            ):
                function = Global(module.__name__, name)
        found = [(arg, self._global_name(arg)) for arg in args]
        return function, tuple(arg if top is None else Global("", top) for arg, top in found)

    def _global_name(self, value: Any) -> str | None:
        """Return the name of a global that is this object, where it matters which object it is."""
        if isinstance(value, (*_FIXED, *_KINDS, ModuleType)) or _is_shared(value):
            return None
        for name, one in list(self._namespace.items()):
            if one is value and not name.startswith("__"):
                if self._send_early(name, value):
                    self._early_names.add(name)
                    return name
                return None
        return None

    def _send_early(self, name: str, value: Any) -> bool:
        """Return whether workers will have a global, by the import or as one that can be pickled."""
        if self._is_bound_by_import(name):
            return True
        start = pickling.Start()
        try:
            pickling.dump_global(value, start, _EntryReferences(self, [], frozenset()))
        except Exception:
            return False
        finally:
            start.close()
        return True

    def first(self, fn: Any) -> int:
        """Return the manifest of all that workers need for the initializer, and for a first task of ``fn``.

        Threads may come here at the same time, each with its own first task.
        """
        self._send_shared()
        found = self._find_all(self._early, self._early_names)
        for roots in ([fn], []):
            # A task that uses what cannot be shared fails with that, and no other.
            with contextlib.suppress(pickling.NotShared):
                found = self._find_all(roots, () if roots else tuple(self._sent), found)
        return self._write(found)

    def first_log_setup(self) -> int:
        """Return where in the store the program's configuration of ``logging`` is; -1: workers need none."""
        setup = log_setup.capture()
        if setup is None:
            return -1
        try:
            pickled = pickling.dump_global(setup, self.start, _EntryReferences(self, [], frozenset()))
        except Exception:
            # A formatter or a filter that cannot be pickled; levels and the rest are not worth an error.
            return -1
        return self._append(pickled)

    def begin(self) -> None:
        """Note that the first process is about to be started."""
        self.start.begun = True
        self._early.clear()

    def stop_importing(self) -> int:
        """Go on by value, as the import has failed; return the manifest of all that was referred to."""
        # Before the names are read: a pickle is made by name only if its name was noted while this was true.
        self._imports = False
        self.spec = self.spec.without_code()
        self._references = WeakKeyDictionary()
        used = [self._namespace[name] for name in sorted(self._used) if name in self._namespace]
        return self._write(self._find_all(used, (*self._sent, *sorted(self._used))))

    def sent_object(self, offset: int) -> Any:
        """Return what went by value, and is at this place in the store."""
        return self._objects[offset]

    def close(self) -> None:
        """Close the store and all descriptors; takes no lock."""
        self._store = None
        self.start.close()

    # How one object is referred to

    def reduce(self, obj: Any) -> Any:
        """Return what a task's pickle has for an object of the main module; None for what is none."""
        return self._reduce(obj, None, frozenset())

    def _reduce(self, obj: Any, uses: list[Any] | None, within: frozenset[str]) -> Any:
        """Do the same.

        Args:
            obj: the object.
            uses: takes the objects referred to; the caller sends their globals. None: it is done here.
            within: names of what is being pickled by value just now.
        """
        if not isinstance(obj, _KINDS) or not self.is_of_main(obj):
            return None
        if self._imports:
            name = self._name_in_import(obj)
            if name is not None:
                self._used.add(name.partition(".")[0])
                # See `stop_importing`.
                if self._imports:
                    manifest = -1 if uses is not None else self._reference(obj)
                    if manifest != -1:
                        return _namespace.referred, (manifest, name)
                    if uses is None and self._is_main:
                        return NotImplemented
                    if uses is not None:
                        uses.append(obj)
                    return _namespace.named, (name,)
        qualname = self._qualname(obj)
        if qualname is not None:
            top, *path = qualname.split(".")
            if top not in within and isinstance(self._namespace[top], _KINDS):
                sent = self._send_object(top, self._namespace[top], within)
                if sent.entry.offset >= 0:
                    if uses is not None:
                        uses.append(obj)
                    manifest = -1 if uses is not None else self._reference(obj)
                    return _namespace.sent, (sent.entry.offset, tuple(path), manifest)
        if uses is not None:
            uses.append(obj)
        if isinstance(obj, FunctionType) and obj.__globals__ is self._namespace:
            return _namespace.reduce_function(obj, -1 if uses is not None else self._reference(obj))
        if isinstance(obj, FunctionType) and obj.__code__ is DISPATCHING:
            return _namespace.make_dispatching, (tuple(vars(obj)["registry"].items()),)
        if isinstance(obj, _CACHED):
            return _namespace.make_cached, (obj.__wrapped__, obj.cache_parameters())
        return None

    def _qualname(self, obj: Any) -> str | None:
        """Return the name that the main module has for an object; None where that means another, or none."""
        name = getattr(obj, "__qualname__", None)
        if not isinstance(name, str) or "<" in name:
            return None
        try:
            return name if _namespace.resolve(self._namespace, name) is obj else None
        except Exception:
            return None

    def _name_in_import(self, obj: Any) -> str | None:
        """Return the name by which an import of the script has the same object; None where it has not."""
        name = self._qualname(obj)
        return name if name is not None and self._is_of_import(obj, name) else None

    def _is_of_import(self, obj: Any, name: str) -> bool:
        """Return whether an import of the script makes what has this name here."""
        script = self.spec.script
        top = name.partition(".")[0]
        if script is None or top not in script.bound or top in script.rebound:
            return False
        inner = getattr(obj, "__wrapped__", obj) if _is(obj, _CACHED) else obj
        if isinstance(inner, FunctionType) and inner.__globals__ is self._namespace:
            code = inner.__code__
            # Not a prompt's, nor the guarded block's.
            return code.co_filename == self.spec.filename and not script.guards_line(code.co_firstlineno)
        return True

    # Manifests

    def _reference(self, obj: Any) -> Reference:
        """Return what names the globals that an object uses."""
        if self._is_early:
            self._early.append(obj)
            return -1
        known = self._references.get(obj) if self._imports else None
        if known is None:
            found = self._find_all([obj], ())
            inline = tuple(one for one in found.values() if one.inline is not None)
            known = self._write({name: one for name, one in found.items() if one.inline is None})
            if inline:
                return known, inline
            if self._imports:
                self._references[obj] = known
        return known

    def _find_all(
        self, roots: Iterable[Any], names: Iterable[str], found: dict[str, Entry] | None = None
    ) -> dict[str, Entry]:
        """Put the globals that objects use, and these, into the store; return them, with ``found``."""
        roots, names = tuple(roots), tuple(names)
        while True:
            with contextlib.suppress(_Changed):
                return self._try_to_find_all(roots, names, dict(found or {}))

    def _try_to_find_all(
        self, roots: tuple[Any, ...], names: tuple[str, ...], found: dict[str, Entry]
    ) -> dict[str, Entry]:
        pending: dict[str, _Pending] = {}
        todo = list(roots)
        for name in names:
            self._include(name, found, pending, todo)
        seen: dict[int, Any] = {}
        looked_at: set[str] = set()
        groups: list[_Group] = []
        counted = (0, 0)
        while True:
            while todo:
                obj = todo.pop()
                if id(obj) not in seen:
                    seen[id(obj)] = obj
                    for name in self._uses(obj, todo):
                        self._include(name, found, pending, todo)
            parts = self._contained_in(pending) - looked_at
            looked_at |= parts
            for name in sorted(parts):
                self._include(name, found, pending, todo)
            if todo:
                continue
            if groups and counted == (len(pending), len(found)):
                # Nothing came of what the values refer to.
                break
            counted = len(pending), len(found)
            known = self._known_of(pending, found)
            often = [name for name, one in pending.items() if one.known and one.known.times >= MOST_RECORDS]
            groups = [
                self._pickle_together({name: pending[name].value for name in group}, known)
                for group in ([name for name in pending if name not in often], often)
                if group
            ]
            # What the values refer to may use more globals, and these may have objects in common with them.
            todo = [use for group in groups for use in group.uses if id(use) not in seen]
            if not todo:
                break
        for group in groups:
            self._put(group, pending, found)
        return found

    def _write(self, found: dict[str, Entry]) -> int:
        """Put a manifest into the store and return where it is; -1: there is nothing to list."""
        if not found:
            return -1
        order = {name: place for place, name in enumerate(self._namespace)}
        # Functions and classes as the program has defined them, and then the values, the older ones first.
        entries = tuple(
            sorted(
                set(found.values()),
                key=lambda one: (
                    not one.is_object,
                    one.is_object and order.get(one.names[0], -1),
                    one.version,
                ),
            )
        )
        with self._lock:
            offset = self._manifests.get(entries)
            if offset is None:
                if len(self._manifests) > MANY_MANIFESTS:
                    self._manifests.clear()
                pickled = pickle.dumps(list(entries), pickle.HIGHEST_PROTOCOL)
                offset = self._manifests[entries] = self._append(pickled)
        return offset

    def _include(
        self, name: str, found: dict[str, Entry], pending: dict[str, _Pending], todo: list[Any]
    ) -> None:
        """Add a global to a manifest, or to what is to be sent, if it is; and what it uses to ``todo``."""
        if name in found or name in pending:
            return
        value = self._value_of(name)
        if value is _ABSENT or is_special(name):
            return
        script = self.spec.script if self._imports else None
        if script is not None and "." not in name and name in script.bound and name not in script.rebound:
            # A function that the program has bound to the name of another one is sent.
            named = _is(value, _KINDS) and (not self.is_of_main(value) or self._name_in_import(value) == name)
            is_nameless = _is(value, FunctionType) and self._name_in_import(value) is None
            if not named and is_nameless and self._is_of_import(value, name):
                # As a function made by another one is, which has no name of its own.
                named = value.__globals__ is self._namespace
                for part in self._parts_of(value, name) if named else ():
                    self._include(part, found, pending, todo)
            # Numbers and strings too: what an import makes of the clock, of a random number, or of standard
            # input is not what the program has.
            if named or _is(value, (ModuleType, logging.Logger, *pickling.LAZY)):
                todo.append(value)
                return
        if _is(value, _KINDS) and self.is_of_main(value):
            sent = self._send_object(name, value, frozenset())
        else:
            known = self._sent.get(name)
            if known is None or not (self._imports or (known.is_of(value) and _stays(value))):
                digest = (
                    None
                    if self._imports or _stays(value)
                    else self._digest(name, self._with_submodules(value), known)
                )
                if known is None or digest is None or digest != known.digest:
                    pending[name] = _Pending(value, known, digest)
                    todo.append(value)
                    return
            sent = known
        if sent.entry.offset >= 0 or sent.entry.inline is not None or sent.entry.text:
            found[name] = sent.entry
        todo.extend(one for reference in sent.uses if (one := reference()) is not None)

    def _value_of(self, name: str) -> Any:
        top, dot, attribute = name.rpartition(".")
        if name.endswith((")", "]")):
            if not self._imports:
                return _ABSENT
            function, _, place = name.removesuffix("()").removesuffix("]").partition("[")
            try:
                found = _namespace.function_named(self._namespace, function)
            except AttributeError:
                return _ABSENT
            return found.__closure__[int(place)] if place else state_of(found)
        if not dot:
            return self._namespace.get(name, _ABSENT)
        try:
            return vars(_namespace.resolve(self._namespace, top)).get(attribute, _ABSENT)
        except (AttributeError, TypeError):
            return _ABSENT

    def _uses(self, obj: Any, todo: list[Any]) -> Iterator[str]:
        """Yield the globals that an object uses by itself, and put what it consists of into ``todo``."""
        if _is(obj, FunctionType):
            if obj.__globals__ is self._namespace:
                yield from (name for name in _names_of(obj.__code__) if name in self._namespace)
            todo.extend(_contents_of(obj))
            yield from self._state_names(obj)
        elif _is(obj, type):
            if not self.is_of_main(obj):
                return
            todo.extend(base for base in (*obj.__bases__, type(obj)) if self.is_of_main(base))
            todo.extend(vars(obj).values())
            name = self._name_in_import(obj) if self._imports else None
            if name is not None:
                yield from self._state_names(obj)
                if not issubclass(obj, Enum):
                    for attribute, value in list(vars(obj).items()):
                        if _is_data(attribute, value) or self._is_other(f"{name}.{attribute}", value):
                            yield f"{name}.{attribute}"
        elif _is(obj, (staticmethod, classmethod)):
            todo.append(obj.__func__)
        elif _is(obj, property):
            todo.extend(one for one in (obj.fget, obj.fset, obj.fdel) if one is not None)
        elif _is(obj, functools.partial):
            todo.extend((obj.func, obj.args, obj.keywords))
        elif _is(obj, MethodType):
            todo.extend((obj.__func__, obj.__self__))
        elif type(obj) in (tuple, list, set, frozenset):
            if len(obj) <= _FEW:
                todo.extend(obj)
        elif type(obj) is dict:
            if len(obj) <= _FEW:
                todo.extend(obj.values())
        elif _is(obj, _CACHED):
            todo.append(obj.__wrapped__)
        elif _is(obj, (functools.cached_property, functools.partialmethod)):
            todo.append(obj.func)
        elif self.is_of_main(type(obj)):
            todo.append(type(obj))

    def _state_names(self, obj: Any) -> Iterator[str]:
        """Yield the names for the state of a function or class that workers import, and for its cells.

        Also where there is nothing now: later it may be what a task has set, which must stay.
        """
        if not self._imports:
            return
        name = getattr(obj, "__qualname__", "")
        try:
            found = _namespace.function_named(self._namespace, name)
        except Exception:
            return
        # The plain function of a class method has no name of its own.
        if found is obj and self._is_of_import(obj, name):
            yield from self._parts_of(obj, name)

    def _parts_of(self, obj: Any, name: str) -> Iterator[str]:
        yield f"{name}()"
        if isinstance(obj, FunctionType):
            yield from (f"{name}[{place}]" for place in range(len(obj.__closure__ or ())))

    def _is_other(self, name: str, value: Any) -> bool:
        """Return whether a method may be another than the one that the class statement has made."""
        if _is(value, type):
            # One that goes by its name.
            return not self.is_of_main(value) or self._name_in_import(value) not in (None, name)
        if _is(value, property):
            parts = [one for one in (value.fget, value.fset, value.fdel) if one is not None]
            return any(self._is_other(name, one) for one in parts)
        function = value.__func__ if _is(value, (staticmethod, classmethod)) else value
        if not _is(function, FunctionType):
            return False
        script = self.spec.script
        code = function.__code__
        if script is None or code.co_filename != self.spec.filename:
            # Of another module, or made by a decorator of the class, as for a dataclass.
            return function.__globals__ is not self._namespace and function.__qualname__ != name
        return function.__qualname__ != name or script.guards_line(code.co_firstlineno)

    # What is put into the store

    def _send_object(self, name: str, value: Any, within: frozenset[str]) -> _Sent:
        """Put a function or class that goes by value into the store, unless it is there already."""
        known = self._sent.get(name)
        if known is not None and known.is_of(value) and (self._imports or _stays(value)):
            return known
        uses: list[Any] = []
        text = ""
        data: Any = b""
        try:
            data = pickling.dump_global(value, self.start, _EntryReferences(self, uses, within | {name}))
        except pickling.NotShared as error:
            raise _not_shared(name, error) from None
        except Exception as error:
            text = self._explain_unfit(name, value, error)
        with self._lock:
            latest = self._sent.get(name)
            if latest is not None and self._has(latest.entry, data, text):
                return latest
            times = 1 if latest is None else latest.times + 1
            offset = self._append(data) if data else -1
            entry = Entry((name,), offset, next(self._versions), None, bool(data), text)
            if data:
                self._objects[offset] = value
            sent = self._sent[name] = _Sent(entry, value, tuple(map(_weakly, uses)), times)
        if known is not None and len(data) > HEAVY_BYTES:
            self._tell_heavy(name, len(data))
        return sent

    def _explain_unfit(self, name: str, value: Any, error: Exception) -> str:
        """Return what a task is to fail with that misses a global; empty for what is part of another."""
        has_own = _is_part(name) or self._is_bound_by_import(name)
        if has_own:
            _log.debug(
                "the main module's %s cannot be pickled (%s): workers keep what their own import makes",
                name,
                pickling.summary(error),
            )
        return "" if _is_part(name) else _unfit(name, value, error, has_own)

    def _digest(self, name: str, value: Any, known: _Sent | None) -> bytes | None:
        """Return what tells whether a value has changed; None where it cannot be pickled."""
        # Not at the top: only programs whose main module goes by value need it.
        from hashlib import blake2b

        to = _Hashed(blake2b())
        try:
            with self._trial() as trial:
                trial.begun = False
                pickling.GlobalPickler(to, trial, _EntryReferences(self, [], frozenset())).dump(value)
        except Exception:
            # The error comes when it is sent.
            return None
        if known is not None and to.size > HEAVY_BYTES:
            self._tell_heavy(name, to.size)
        digest: bytes = to.hash.digest()
        return digest

    def _pickle_together(
        self, values: dict[str, Any], known: tuple[str, ...], start: pickling.Start | None = None
    ) -> _Group:
        """Pickle values, in an order that has what others consist of first."""
        uses: list[Any] = []
        references = _EntryReferences(self, uses, frozenset())
        texts: dict[str, str] = {}
        order, circles = _inner_first(values)
        fit: dict[str, Any] = {}
        for name in order:
            value = self._with_submodules(values[name])
            references.is_part = _is_part(name)
            try:
                if type(value) not in (*_FIXED, *_CONTAINERS):
                    # Alone first: what cannot be pickled costs those before it another round.
                    with self._trial(start) as trial:
                        pickling.GlobalPickler(_Hashed(), trial, references).dump(value)
            except pickling.NotShared as error:
                raise _not_shared(name, error) from None
            except Exception as error:
                texts[name] = self._explain_unfit(name, value, error)
            else:
                fit[name] = value
        while True:
            uses.clear()
            writer = Writer(start or self.start, references, [self._value_of(name) for name in known])
            found: list[Value] = []
            pickles: list[Any] = []
            for name, value in fit.items():
                references.is_part = _is_part(name)
                try:
                    pickled, before, is_known = writer.add(value)
                except pickling.NotShared as error:
                    raise _not_shared(name, error) from None
                except Exception as error:
                    texts[name] = self._explain_unfit(name, value, error)
                    break
                # It cannot be changed in place where others refer to the new one.
                rebinds = name in circles or is_known or self._may_rebind(name)
                found.append(Value(name, rebinds, pickled.nbytes, before))
                pickles.append(pickled)
            else:
                parts = frozenset(name for name in fit if _is_part(name) or not self._may_rebind(name))
                return _Group(Header(known, tuple(found), parts), pickles, uses, texts)
            # Once more without it: the writer has numbers for what it has not written.
            del fit[name]

    def _with_submodules(self, value: Any) -> Any:
        """Return what is pickled for a value: for a package, also which of its modules are imported there.

        ``import package.module`` binds the package only. What code then finds in it must be imported in the
        other process as well.
        """
        if type(value) is not ModuleType or not hasattr(value, "__path__"):
            return value
        count, known = self._loaded
        if count != len(sys.modules):
            # Looked up anew when something was imported: this is done for each task.
            known = {}
            self._loaded = len(sys.modules), known
        prefix = f"{value.__name__}."
        loaded = known.get(prefix)
        if loaded is None:
            loaded = known[prefix] = [name for name in list(sys.modules) if name.startswith(prefix)]
        used = frozenset().union(*map(_all_names_of, self._codes())) if loaded else frozenset()
        wanted = [name for name in loaded if used.issuperset(name.removeprefix(prefix).split("."))]
        return _namespace.Package(value.__name__, tuple(sorted(wanted)))

    def _codes(self) -> Iterator[CodeType]:
        """Yield the code of functions and methods in the main module."""
        for value in list(self._namespace.values()):
            for one in (value, *(vars(value).values() if _is(value, type) else ())):
                function = one.__func__ if _is(one, (staticmethod, classmethod)) else one
                if _is(function, FunctionType) and function.__globals__ is self._namespace:
                    yield function.__code__

    @contextlib.contextmanager
    def _trial(self, start: pickling.Start | None = None) -> Iterator[pickling.Start]:
        """Give what pickles need that nothing reads."""
        trial = pickling.Start()
        trial.twins = self.start.twins
        trial.begun = self.start.begun
        trial.stands_in = start is None or start.stands_in
        try:
            yield trial
        finally:
            trial.twins = {}
            trial.close()

    def _may_rebind(self, name: str) -> bool:
        script = self.spec.script
        return script is None or name.endswith("()") or name in script.rebound

    def _put(self, group: _Group, pending: dict[str, _Pending], found: dict[str, Entry]) -> None:
        """Put a group of values into the store, and into what was found.

        Raises:
            _Changed: another thread has put one of the values there meanwhile.
        """
        header = pickle.dumps(group.header, pickle.HIGHEST_PROTOCOL)
        parts = [HEADER_SIZE.pack(len(header)), header, *group.pickles]
        names = tuple(value.name for value in group.header.values)
        times = {
            name: 1 if known is None else known.times + 1
            for name in (*names, *group.texts)
            for known in (pending[name].known,)
        }
        often = any(times[name] > MOST_RECORDS for name in names)
        inline = b"".join(parts) if often else None
        uses = tuple(map(_weakly, group.uses))
        with self._lock:
            for name in times:
                if self._sent.get(name) is not pending[name].known:
                    raise _Changed
            offset = self._append(*parts) if names and not often else -1
            version = next(self._versions)
            entries = {
                name: Entry((name,), -1, version, None, False, text) for name, text in group.texts.items()
            }
            entries |= dict.fromkeys(names, Entry(names, offset, version, inline, False, ""))
            for name, entry in entries.items():
                value, _, digest = pending[name]
                self._sent[name] = _Sent(entry, value, uses, times[name], digest)
                if entry.offset >= 0 or entry.inline is not None or entry.text:
                    found[name] = entry

    def _contained_in(self, pending: dict[str, _Pending]) -> set[str]:
        """Return further globals that are parts of these values, so that they stay the same objects."""
        by_id: dict[int, list[str]] = {}
        for name, value in list(self._namespace.items()):
            if not _is(value, (*_FIXED, *_OPAQUE, logging.Logger)) and not is_special(name):
                by_id.setdefault(id(value), []).append(name)
        found = {
            name
            for one in pending.values()
            for names in (by_id.get(id(one.value), []), *_inside(one.value, by_id)[0])
            for name in names
        }
        return found - pending.keys()

    def _known_of(self, pending: dict[str, _Pending], found: dict[str, Entry]) -> tuple[str, ...]:
        """Return globals that the workers have, and that those to be sent may refer to."""
        by_id = {
            id(value): name
            for name, entry in found.items()
            if not entry.is_object and not entry.text and not name.endswith((")", "]"))
            if name not in pending
            for value in (self._value_of(name),)
            # The program may have bound another object to the name since.
            if type(value) not in _FIXED and (sent := self._sent.get(name)) is not None and sent.is_of(value)
        }
        return tuple(by_id.values())

    def _tell_heavy(self, name: str, size: int) -> None:
        if name not in self._told:
            self._told.add(name)
            _log.warning(
                "the global %s of the main module, %d bytes, is pickled again for each task that uses it, to "
                "see whether it has changed. Have the script imported, by a guard, or put it into a module.",
                name,
                size,
            )

    def _has(self, entry: Entry, data: Any, text: str) -> bool:
        """Return whether an entry is what would be put into the store once more."""
        if entry.offset < 0 or not data:
            return entry.offset < 0 and not data and entry.text == text
        store = self._store
        return store is not None and Record(store.fd, entry.offset).has(data)

    def _is_bound_by_import(self, name: str) -> bool:
        return self._imports and self.spec.script is not None and name in self.spec.script.bound

    def _send_shared(self) -> None:
        """Put into the store what only a starting process can be given, for tasks to come."""
        strict = copy.copy(self.start)
        strict.stands_in = False
        for name, value in list(self._namespace.items()):
            if _is_shared(value) and name not in self._sent:
                # A task that uses one that cannot be sent fails with the reason, or its lock gets a twin.
                with contextlib.suppress(Exception):
                    group = self._pickle_together({name: value}, (), strict)
                    if group.pickles:
                        self._put(group, {name: _Pending(value, None, None)}, {})

    def _append(self, *parts: Any) -> int:
        # The executor has ended, and refuses the task that this is for.
        store = self._store
        return 0 if store is None else store.append(*parts)


class _Group(NamedTuple):
    """Values that were pickled together.

    Attributes:
        header: says which.
        pickles: one for each value.
        uses: functions and classes that they refer to by name.
        texts: why others of the group could not be pickled.
    """

    header: Header
    pickles: list[Any]
    uses: list[Any]
    texts: dict[str, str]


class _Hashed:
    """A file that keeps the size of what is written, in bytes, and its digest if that is asked for."""

    def __init__(self, hash: Any = None) -> None:
        self.hash = hash
        self.size = 0

    def write(self, data: Any) -> None:
        if self.hash is not None:
            self.hash.update(data)
        self.size += memoryview(data).nbytes


class _EntryReferences:
    """References inside of a value in the store: the manifest lists the globals that they use."""

    def __init__(self, exports: Exports, uses: list[Any], within: frozenset[str]) -> None:
        self._exports = exports
        self._uses = uses
        self._within = within
        # Whether workers have a value by their import, if this one cannot be sent.
        self.is_part = False

    def reduce(self, obj: Any) -> Any:
        if self.is_part and isinstance(obj, FunctionType) and self._exports.is_copied(obj):
            raise pickle.PicklingError(
                f"{obj.__qualname__} is a local function of the module {obj.__globals__.get('__name__')}, "
                "whose globals a copy would not share"
            )
        return self._exports._reduce(obj, self._uses, self._within)


_ABSENT: Any = object()
_T = TypeVar("_T")


def _weakly(value: Any) -> Any:
    try:
        return ref(value)
    except TypeError:
        return lambda: None


def _names_of(code: CodeType) -> tuple[str, ...]:
    """Return the globals that code reads, that of functions in it included."""
    names = _names.get(code)
    if names is None:
        found = {one.argval: None for one in get_instructions(code) if one.opname in _LOADS}
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                found.update(dict.fromkeys(_names_of(constant)))
        names = _names[code] = tuple(found)
    return names


def _all_names_of(code: CodeType) -> frozenset[str]:
    """Return the globals and attributes that code names, that of functions in it included."""
    names = _attributes.get(code)
    if names is None:
        inner = [_all_names_of(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
        names = _attributes[code] = frozenset(code.co_names).union(*inner)
    return names


def _contents_of(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from function.__dict__.values()


def _is_data(name: str, value: Any) -> bool:
    """Return whether a class attribute is a value that a program may change."""
    if name.startswith("__") or name == "_abc_impl" or _is(value, (type, ModuleType)):
        return False
    # A descriptor of the script's own is an object as others are.
    return not hasattr(type(value), "__get__") or type(value).__module__ in NAMES


def _is_part(name: str) -> bool:
    """Return whether a value belongs to a function or class that workers have by their import."""
    return "." in name or name.endswith((")", "]"))


def _is(value: Any, kinds: Any) -> bool:
    """Do as ``isinstance`` without asking the object, which may be a proxy for another one."""
    return issubclass(type(value), kinds)


def _is_shared(value: Any) -> bool:
    """Return whether an object of multiprocessing is meant to be the same in several processes."""
    module = type(value).__module__
    return isinstance(module, str) and module.startswith("multiprocessing.")


def _stays(value: Any) -> bool:
    """Return whether an object can only be what it was."""
    if _is(value, ModuleType):
        # Of a package, code may use more modules later.
        return not hasattr(value, "__path__")
    if type(value) in _FIXED or _is_shared(value):
        return True
    if not isinstance(value, FunctionType) or value.__closure__ or value.__dict__ or value.__kwdefaults__:
        return False
    return all(type(one) in _FIXED for one in value.__defaults__ or ())


def _not_shared(name: str, error: pickling.NotShared) -> pickling.NotShared:
    return pickling.NotShared(f"the global {name} of the main module cannot reach the workers: {error}")


def _inner_first(values: dict[str, Any]) -> tuple[list[str], set[str]]:
    """Sort names so that what a value consists of comes before it; return also those that are in a circle.

    A reader that has the inner one already keeps it, and the outer one then refers to the reader's. The look
    into values is a bounded one.
    """
    by_id = {id(value): name for name, value in values.items() if type(value) not in _FIXED}
    inner: dict[str, list[str]] = {}
    ranks: dict[str, tuple[Any, ...]] = {}
    for name in by_id.values():
        inner[name], is_large = _inside(values[name], by_id)
        # What others may refer to comes early, and what takes a reader long to compare comes late.
        ranks[name] = is_large, name.endswith("()"), name.endswith("]"), type(values[name]) in _CONTAINERS
    order: list[str] = [name for name, value in values.items() if type(value) in _FIXED]
    circles: set[str] = set()
    # Tarjan's way to components in which each consists of each other, without recursion.
    found: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_: dict[str, None] = {}
    for first in sorted(inner, key=ranks.__getitem__):
        stack = [] if first in found else [(first, iter(inner[first]))]
        while stack:
            name, left = stack[-1]
            if name not in found:
                found[name] = lowest[name] = len(found)
                open_[name] = None
            following = next((one for one in left if one not in found), None)
            if following is not None:
                stack.append((following, iter(inner[following])))
                continue
            lowest[name] = min([lowest[name], *(found[one] for one in inner[name] if one in open_)])
            stack.pop()
            if stack:
                outer = stack[-1][0]
                lowest[outer] = min(lowest[outer], lowest[name])
            if lowest[name] == found[name]:
                component: list[str] = []
                while not component or component[-1] != name:
                    component.append(open_.popitem()[0])
                order.extend(reversed(component))
                if len(component) > 1 or name in inner[name]:
                    circles.update(component)
    # Further names of an object that has one already.
    return list(dict.fromkeys((*order, *values))), circles


def _inside(value: Any, by_id: dict[int, _T]) -> tuple[list[_T], bool]:
    """Return what stands for the values that an object consists of, and whether it is a large one.

    The object itself is among them if it is in a circle. What these consist of is not looked at.
    """
    found: list[_T] = []
    seen: set[int] = set()
    todo = [value]
    while todo and len(seen) < _MOST_LOOKED_AT:
        for one in gc.get_referents(todo.pop()):
            if type(one) is ref:
                one = one()
            if id(one) not in seen and not _is(one, _OPAQUE):
                seen.add(id(one))
                if id(one) in by_id:
                    found.append(by_id[id(one)])
                else:
                    todo.append(one)
    return found, len(seen) >= _MOST_LOOKED_AT


def _unfit(name: str, value: Any, error: Exception, has_own: bool) -> str:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    instead = (
        "a worker process has what its own import makes"
        if has_own
        else "no import makes it in a worker process"
    )
    return (
        f"the main module's {name} is a {kind}, which cannot be pickled ({pickling.summary(error)}), and "
        f'{instead}. Set it at the top level of the script, above `if __name__ == "__main__":`, or in the '
        f"initializer, or put it into a module"
    )

"""The main module: whether worker processes can import it, and how they do.

A program's functions mostly live in the script that it is started with. A worker can only have them by name
if it imports that script, and importing is only safe where a guard, ``if __name__ == "__main__":``, keeps the
program itself from being run once more. The guard is found in the source. The source must be that of the code
that runs: a script may have been changed on disk since. From then on its code travels, and not its path, so
that a worker that is started an hour later imports the same.

A worker names the imported module ``__mp_main__``, as :mod:`multiprocessing.spawn` does, and knows it as
``__main__`` as well.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import importlib.util
import marshal
import multiprocessing
import multiprocessing.process
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

from . import namespace as _namespace
from .namespace import NAMES

__all__ = [
    "Main",
    "MainSpec",
    "Script",
    "check_not_importing",
    "find",
    "forget",
    "is_importing",
    "names",
    "set_up",
]

_TOP = "<module>"


class Script(NamedTuple):
    """What the source of a main script tells.

    Attributes:
        guards: first and last line of each block that runs only where the module is ``__main__``.
        bound: names that an import binds at the top level.
        rebound: names that a guarded block, or a function by ``global``, may bind anew.
        defines: a function or a class is defined at the top level.
    """

    guards: tuple[tuple[int, int], ...]
    bound: frozenset[str]
    rebound: frozenset[str]
    defines: bool

    def guards_line(self, line: int) -> bool:
        """Return whether this line is in a guarded block."""
        return any(first <= line <= last for first, last in self.guards)


class MainSpec(NamedTuple):
    """How a process gets the main module; it can be pickled.

    Attributes:
        code: marshalled code of the script, to be imported; None: only what arrives by value is in the
            module.
        name: the module's name where the program was started with ``-m``; else None.
        file: path of the script, or None.
        package: what relative imports are relative to, or None.
        filename: the path that the script's functions have in their code.
        script: what its source tells; None without ``code``.
    """

    code: bytes | None
    name: str | None
    file: str | None
    package: str | None
    filename: str | None
    script: Script | None

    def without_code(self) -> MainSpec:
        """Return the same for a process that is not to import it."""
        return self._replace(code=None, script=None)


class Main(NamedTuple):
    """The main module of this process.

    Attributes:
        namespace: its globals.
        spec: how workers get it.
        changed: why the script that could be imported once cannot be any more; empty where it can, or never
            could.
    """

    namespace: dict[str, Any]
    spec: MainSpec
    changed: str


_importing = False
# Of a process that has set its main module up itself: how.
_own: MainSpec | None = None
# Code that makes an executor outside of the guard, so that an import would make it once more.
_unguarded: set[CodeType] = set()
# The last script that was read, and of which code; reading takes milliseconds.
_last: tuple[tuple[Any, ...], MainSpec, str] | None = None


def is_importing() -> bool:
    """Return whether this process is importing the main module for its tasks right now."""
    return _importing


def check_not_importing() -> None:
    """Raise RuntimeError where this process is importing the main module, whose top level submits a task."""
    if _importing:
        raise RuntimeError(
            "a worker process imports the main module, which submits a task at its top level. Put that "
            'under `if __name__ == "__main__":`.'
        )


def find(*, imports: bool) -> Main:
    """Return this process's main module, as it is for an executor that is made now.

    Args:
        imports: workers may import it.
    """
    module = sys.modules.get("__main__")
    namespace: dict[str, Any] = {} if module is None else module.__dict__
    # Where the main module has been imported, the frames are those of what has started this process.
    frame = None if _own is not None or namespace.get("__name__") == "__mp_main__" else _top_frame()
    if frame is not None:
        # A profiler runs the script inside of a main module of its own.
        namespace = frame.f_globals
    _namespace.adopt(namespace)
    if _own is not None:
        return Main(namespace, _own if imports else _own.without_code(), "")
    package = namespace.get("__package__")
    bare = MainSpec(None, _name_of(namespace), _file_of(namespace), package, None, None)
    if not imports or bare.file is None:
        return Main(namespace, bare, "")
    spec, changed = _read_once(namespace, bare, None if frame is None else frame.f_code)
    if spec.script is not None and frame is not None:
        if not spec.script.guards_line(frame.f_lineno):
            _unguarded.add(frame.f_code)
        if frame.f_code in _unguarded:
            return Main(namespace, bare, "")
    return Main(namespace, spec, changed)


def names(name: str) -> bool:
    """Return whether the code of this process's main module, or of a function that it defines, names this."""
    frame = _top_frame()
    namespace = vars(sys.modules["__main__"]) if frame is None else frame.f_globals
    values = list(namespace.values())
    codes = [value.__code__ for value in values if type(value) is FunctionType]
    if frame is not None:
        codes.append(frame.f_code)
    while codes:
        code = codes.pop()
        if name in code.co_names:
            return True
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return False


def _top_frame() -> FrameType | None:
    """Return the frame in which the main module's top level runs, if it still does."""
    frame = _first_main(sys._getframe())
    main_thread = threading.main_thread()
    if frame is None and threading.current_thread() is not main_thread and main_thread.ident is not None:
        frame = _first_main(sys._current_frames().get(main_thread.ident))
    return frame


def _first_main(frame: FrameType | None) -> FrameType | None:
    while frame is not None:
        if frame.f_code.co_name == _TOP and frame.f_globals.get("__name__") == "__main__":
            return frame
        frame = frame.f_back
    return None


def _name_of(namespace: dict[str, Any]) -> str | None:
    name = getattr(namespace.get("__spec__"), "name", None)
    # A directory or an archive that is run has this name, and cannot be imported by it.
    return name if isinstance(name, str) and name not in NAMES else None


def _file_of(namespace: dict[str, Any]) -> str | None:
    file = namespace.get("__file__")
    if not isinstance(file, str) or file.startswith("<"):
        # It may be standard input.
        return None
    start = multiprocessing.process.ORIGINAL_DIR  # type: ignore[attr-defined]
    return os.path.normpath(file if os.path.isabs(file) or start is None else os.path.join(start, file))


def _read_once(namespace: dict[str, Any], bare: MainSpec, running: CodeType | None) -> tuple[MainSpec, str]:
    global _last
    stamp = None
    with contextlib.suppress(OSError):
        status = os.stat(bare.file or "")
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
    # The code is kept with what was read, so that no other can have its number.
    key = (id(namespace), running, bare.file, stamp)
    if _last is None or _last[0] != key or running is None:
        spec, changed = _read(namespace, bare, running)
        _last = key, spec, changed
    return _last[1], _last[2]


def _read(namespace: dict[str, Any], bare: MainSpec, running: CodeType | None) -> tuple[MainSpec, str]:
    # Not at the top: only a program's own process reads sources, and a parser takes memory in all others.
    import ast

    from .script_source import codes_of, read

    assert bare.file is not None
    try:
        source = _source(namespace, bare.file)
    except (OSError, ImportError) as error:
        if running is None or not os.path.isabs(bare.file):
            return bare, ""
        return bare, f"its source cannot be read any more ({error})"
    filename = bare.file if running is None else running.co_filename
    try:
        tree = ast.parse(source, filename)
        code = compile(source, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        # It may be compiled code, or an archive's.
        return bare, "" if running is None else f"its source is no Python any more ({error})"
    script = read(tree)
    if bare.name is not None and bare.name.endswith(".__main__") and not script.defines:
        # Of a package that is run as a program, such as a test runner. Nothing there is what tasks are made
        # of.
        return bare, ""
    if not (
        code == running if running is not None else _has_all_of(set(codes_of(code)), namespace, filename)
    ):
        return bare, "its source on disk is not that of the code that runs"
    if not script.guards:
        return bare, ""
    return bare._replace(code=marshal.dumps(code), filename=filename, script=script), ""


def _source(namespace: dict[str, Any], file: str) -> bytes:
    get_data = getattr(namespace.get("__loader__"), "get_data", None)
    if get_data is not None and not os.path.exists(file):
        # In an archive.
        data: bytes = get_data(file)
        return data
    with open(file, "rb") as stream:
        return stream.read()


def _has_all_of(known: set[CodeType], namespace: dict[str, Any], filename: str) -> bool:
    """Return whether all functions of a namespace that come from this file have one of these codes."""
    functions = [value for value in list(namespace.values()) if isinstance(value, FunctionType)]
    return all(one.__code__ in known for one in functions if one.__code__.co_filename == filename)


# In supervisors and workers


def set_up(spec: MainSpec) -> None:
    """Give this process the main module, imported where there is code for that.

    Raises:
        BaseException: what the import raised; the module is there then, without what was imported.
    """
    global _own
    module = _make(spec)
    previous = sys.modules.get("__main__")
    sys.modules["__main__"] = module
    if spec.code is None:
        module.__name__ = "__main__"
        _own = spec
        _namespace.install(module.__dict__, imported=False)
        return
    sys.modules["__mp_main__"] = module
    try:
        with _inheriting():
            _fill(module, spec)
    except BaseException:
        sys.modules["__main__"] = sys.modules["__mp_main__"] = previous or ModuleType("__main__")
        raise
    _own = spec
    _namespace.install(module.__dict__, imported=True)


def forget(previous: ModuleType | None) -> None:
    """Undo :func:`set_up` in a process that starts others, which would import the same by themselves."""
    global _own
    _own = None
    sys.modules["__main__"] = sys.modules["__mp_main__"] = previous or ModuleType("__main__")


def _allow_tracebacks() -> None:
    """Have errors of the main module printed as usual where warnings are errors.

    Python 3.15 warns of frames whose module has no loader, unless it is called ``__main__``. An imported main
    module never had one, here and in multiprocessing.
    """
    if sys.version_info >= (3, 15):
        warnings.filterwarnings("ignore", r"Module globals is missing a __spec__\.loader", DeprecationWarning)


def _make(spec: MainSpec) -> ModuleType:
    module = ModuleType("__mp_main__")
    module.__package__ = spec.package
    module.__dict__["__cached__"] = None
    # Code that is executed gets them by itself, and functions that arrive do not: C code, such as pickle's,
    # imports by what is found here.
    module.__dict__["__builtins__"] = builtins
    if spec.file is not None:
        module.__file__ = spec.file
    return module


def _fill(module: ModuleType, spec: MainSpec) -> None:
    assert spec.code is not None
    if spec.name is not None:
        # As with runpy: the package first, and then the module as it would be found by its name.
        if spec.package:
            importlib.import_module(spec.package)
        found = importlib.util.find_spec(spec.name)
        module.__spec__ = found
        module.__loader__ = None if found is None else found.loader
    _allow_tracebacks()
    exec(marshal.loads(spec.code), module.__dict__)
    # Its top level may have set filters of its own.
    _allow_tracebacks()


@contextlib.contextmanager
def _inheriting() -> Iterator[None]:
    """Have multiprocessing refuse to start processes, as it does while it imports a main module itself."""
    global _importing
    process: Any = multiprocessing.current_process()
    _importing = process._inheriting = True
    try:
        yield
    finally:
        _importing = False
        del process._inheriting

"""Starts interpreters: the first process of all, and the resource trackers.

``multiprocessing`` and loky run ``python -c`` or ``python -m`` for that. Both look for what they import in
the directory that the program happens to be in, where anybody's ``queue.py`` may lie, but not where only
``sys.path`` of the program leads. Here an interpreter first takes over ``sys.path``, by means of modules that
are built into it, and imports nothing before that.

What it is to run comes in a file in memory, of any size: a pipe would hold up the parent of a process that
never comes up. The steps are those of ``multiprocessing.spawn``, so that a frozen program takes them by its
``freeze_support()``.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import contextlib
import fcntl
import io
import multiprocessing.process
import multiprocessing.spawn
import multiprocessing.util
import os
import pickle
import select
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing import process, util
from multiprocessing.context import set_spawning_popen
from multiprocessing.popen_spawn_posix import Popen as SpawnPopen  # type: ignore[attr-defined, unused-ignore]
from typing import Any

from .._ipc.crash_report import Report
from .._log import Log
from .._nameless_files import new_file
from .._serialize import main_module
from .._worker.first_start import STARTED, Start

__all__ = ["Popen", "ensure_trackers", "remember_trackers"]

_log = Log()

# All before the last import is built into the interpreter, and comes from no file.
_BOOT = """\
import sys,posix
fd,size=[int(word.partition('=')[2])for word in sys.argv[2:4]]
path=b''
while len(path)<size:path+=posix.read(fd,size-len(path))or sys.exit('sys.path is cut short')
sys.path[:]=path.decode('utf-8','surrogateescape').split('\\0')[:-1]
from multiprocessing.spawn import spawn_main
spawn_main(pipe_handle=fd)
"""

# Descriptors below are those of the standard streams in every process.
_LEAST_FD = 3

# Another start of this frozen program has run the program once more: there is to be none after that.
_misfit = False
_MISFIT = (
    "another start of this frozen program (sys.frozen), which was to be a worker process, ran the program "
    "itself: multiprocessing.freeze_support() must come before all else"
)

# The descriptor of each tracker whose pipe is known: device and inode of the pipe.
_pipes: dict[tuple[str, int], tuple[int, int]] = {}


def _start(start: Start, fds: Iterable[int], label: str, stderr: int | None = None) -> int:
    """Start an interpreter.

    Args:
        start: what it is to run.
        fds: descriptors that it inherits under the same numbers, beside the standard streams.
        label: what its command line says that it is.
        stderr: descriptor that is its standard error; None: that of this process.

    Returns:
        Its process id; the caller reaps it.

    Raises:
        RuntimeError: there is no interpreter, or it would be the program itself.
        OSError: the system can start no further process.
    """
    frozen = bool(getattr(sys, "frozen", False))
    executable = _executable(frozen)
    path = _import_path()
    head = b"" if frozen else "".join(f"{entry}\0" for entry in path).encode("utf-8", "surrogateescape")
    payload = new_file("start")
    with open(payload, "wb") as file, _high(payload) as passed, contextlib.ExitStack() as opened:
        fork = ["--multiprocessing-fork", f"pipe_handle={passed}"]
        if frozen:
            ready, start.ready = opened.enter_context(_pipe())
            command = [executable, *fork]
        else:
            ready = None
            command = [executable, *_flags(), "-c", _BOOT, *fork, f"path_bytes={len(head)}", label]
        file.write(head + pickle.dumps(_preparation(path)) + pickle.dumps(start))
        file.flush()
        os.lseek(passed, 0, os.SEEK_SET)
        process = subprocess.Popen(
            command,
            pass_fds=[*fds, passed, *([] if start.ready is None else [start.ready])],
            env=_environment(frozen),
            # Python 3.13 does not start in a directory that was removed.
            cwd=None if _here() else "/",
            stdin=_stream(0),
            stdout=_stream(1),
            stderr=_stream(2) if stderr is None else stderr,
            restore_signals=False,
        )
        # It is reaped by its number.
        process.returncode = 0
        if ready is not None:
            opened.close()
            _await(ready, process.pid)
    return process.pid


def _await(ready: int, pid: int) -> None:
    """Wait until the second start of this frozen program has become a process of this package."""
    global _misfit
    with open(ready, "rb") as file:
        if file.read():
            return
    _misfit = True
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    raise RuntimeError(_MISFIT)


def _executable(frozen: bool) -> str:
    executable = (sys.executable if frozen else "") or multiprocessing.spawn.get_executable()
    if not executable:
        raise RuntimeError(
            f"there is no interpreter to start processes with: sys.executable is {sys.executable!r}. "
            "multiprocessing.set_executable(path) names one."
        )
    if frozen:
        if _misfit or STARTED in os.environ:
            raise RuntimeError(_MISFIT)
        if not main_module.names("freeze_support"):
            raise RuntimeError(
                "this program is frozen (sys.frozen), so that a worker process is another start of it, and "
                "its main module does not call multiprocessing.freeze_support(). Call that first under "
                '`if __name__ == "__main__":`.'
            )
    return os.fsdecode(executable)


def _flags() -> list[str]:
    """Return the options that give an interpreter the flags of this one."""
    try:
        flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined, unused-ignore]
    except ValueError:
        # It misses in `sys.warnoptions` what `-b` or `-X dev` has put there; the program has taken it away.
        flags = subprocess._optim_args_from_interpreter_flags()  # type: ignore[attr-defined, unused-ignore]
    if sys.dont_write_bytecode and "-B" not in flags:
        flags.append("-B")
    if isinstance(getattr(sys.__stdout__, "buffer", None), io.RawIOBase):
        flags.append("-u")
    if not any(flag.startswith("utf8") for flag in flags):
        # The environment, which decides otherwise, may have changed since.
        flags += ["-X", f"utf8={sys.flags.utf8_mode}"]
    return flags


def _here() -> str:
    """Return the directory that this process is in; empty where it was removed."""
    with contextlib.suppress(OSError):
        return os.getcwd()
    return ""


def _import_path() -> list[str]:
    """Return the import path of this process, in a form that another process can use."""
    here = _here()
    if not here:
        # Nothing can be imported from there.
        return [entry for entry in sys.path if isinstance(entry, str) and os.path.isabs(entry)]
    return [os.path.join(here, entry) if entry else here for entry in sys.path if isinstance(entry, str)]


def _environment(frozen: bool) -> dict[str, str] | None:
    """Return the environment of a new interpreter; None: that of this process."""
    changed = {}
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if entries != [""] and not all(map(os.path.isabs, entries)):
        # They meant the directory that the program was started in, and it may be in another one now.
        start = multiprocessing.process.ORIGINAL_DIR or "/"  # type: ignore[attr-defined, unused-ignore]
        absolute = [os.path.abspath(os.path.join(start, entry)) for entry in entries]
        # It may have gone there before multiprocessing took note; what it does not import from is not meant.
        changed["PYTHONPATH"] = os.pathsep.join(entry for entry in absolute if entry in sys.path)
    if frozen:
        changed[STARTED] = str(os.getpid())
    return {**os.environ, **changed} if changed else None


def _preparation(path: list[str]) -> dict[str, Any]:
    """Return what :func:`multiprocessing.spawn.prepare` is to set."""
    found: dict[str, Any] = {
        "log_to_stderr": util._log_to_stderr,  # type: ignore[attr-defined, unused-ignore]
        "authkey": bytes(process.current_process().authkey),
        "sys_path": path,
        "orig_dir": process.ORIGINAL_DIR,  # type: ignore[attr-defined, unused-ignore]
    }
    if util._logger is not None:  # type: ignore[attr-defined, unused-ignore]
        found["log_level"] = util._logger.getEffectiveLevel()  # type: ignore[attr-defined, unused-ignore]
    return found


def _stream(fd: int) -> int | None:
    """Return what to make of a standard stream: None where it is there to be inherited."""
    with contextlib.suppress(OSError):
        if os.get_inheritable(fd):
            return None
    # It is closed, or something else has its number by now. What a process opened would be taken for it.
    return subprocess.DEVNULL


@contextlib.contextmanager
def _high(fd: int) -> Iterator[int]:
    """Have a copy of a descriptor whose number is not that of a standard stream."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LEAST_FD)
    try:
        yield copy
    finally:
        os.close(copy)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe; the end to read is the caller's to close, unless there is an error."""
    reads, theirs = os.pipe()
    try:
        with open(theirs, "wb"), _high(theirs) as writes:
            yield reads, writes
    except BaseException:
        os.close(reads)
        raise


@contextlib.contextmanager
def _standard_error() -> Iterator[int]:
    """Have a copy of standard error, or of what stands in for it."""
    with contextlib.ExitStack() as opened:
        fd = 2 if _stream(2) is None else opened.enter_context(open(os.devnull, "w")).fileno()
        yield opened.enter_context(_high(fd))


class Popen(SpawnPopen):  # type: ignore[misc, unused-ignore]
    """Starts a process object in an interpreter; what ``LokyProcess`` calls its ``Popen``.

    Args:
        process_obj: the process object.
        dump: pickles into a file, as loky does.

    Attributes:
        pid: its process id.
        sentinel: can be read when it has ended.
    """

    method = "loky"

    def __init__(self, process_obj: Any, dump: Callable[[Any, io.BytesIO], None]) -> None:
        # That of multiprocessing flushes the standard streams, which may be anything.
        self.returncode = None
        self.finalizer: Any = None
        self._dump = dump
        self._report: Report | None = Report()
        with contextlib.ExitStack() as self._opened:
            self._launch(process_obj)

    def duplicate_for_child(self, fd: int) -> int:
        """Have the process inherit a descriptor; return its number there."""
        copy = self._opened.enter_context(_high(fd))
        self._fds.append(copy)
        return copy

    def _launch(self, process_obj: Any) -> None:
        inherited = self.duplicate_for_child
        self._fds: list[int] = []
        assert self._report is not None
        pickled = io.BytesIO()
        set_spawning_popen(self)
        try:
            self._dump(process_obj, pickled)
        finally:
            set_spawning_popen(None)
        trackers = tuple((name, inherited(fd)) for name, fd in _known_trackers())
        report = self._report.share()
        self._opened.callback(os.close, report)
        words = inherited(report)
        stderr = self._opened.enter_context(_standard_error())
        sentinel, theirs = os.pipe()
        try:
            with contextlib.closing(os.fdopen(theirs, "wb")):
                inherited(theirs)
                start = Start(pickled.getvalue(), trackers, (words, stderr))
                self.pid = _start(start, [*self._fds, stderr], "bounded-executor-keeper", words)
        except BaseException:
            os.close(sentinel)
            raise
        self.sentinel = sentinel
        self.finalizer = util.Finalize(self, os.close, (sentinel,))

    def words(self) -> str:
        """Return what it has written to standard error before it came up, once; its end is near or past."""
        report, self._report = self._report, None
        return "" if report is None else report.last_words()


# Resource trackers


def _known_trackers() -> Iterable[tuple[str, int]]:
    for module in ("multiprocessing.resource_tracker", "loky.backend.resource_tracker"):
        fd = getattr(getattr(sys.modules.get(module), "_resource_tracker", None), "_fd", None)
        if fd is not None:
            yield module, fd


def ensure_trackers(*modules: Any) -> None:
    """Have the resource trackers of these modules run, so that all processes share them.

    Raises:
        RuntimeError: there is no interpreter, or it would be the program itself.
        OSError: the system can start no further process.
    """
    for module in modules:
        tracker = module._resource_tracker
        with tracker._lock:
            if tracker._fd is not None and not _is_running(module.__name__, tracker):
                tracker._fd = tracker._pid = None
            if tracker._fd is None:
                tracker._fd, tracker._pid = _start_tracker(module)
            _remember(module.__name__, tracker._fd)


def _start_tracker(module: Any) -> tuple[int, int]:
    theirs, ours = os.pipe()
    try:
        with _high(theirs) as end:
            start = Start(pickle.dumps(partial(module.main, end)))
            pid = _start(start, (end,), f"resource_tracker of {module.__name__}")
        return fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _LEAST_FD), pid
    finally:
        os.close(theirs)
        os.close(ours)


def _is_running(name: str, tracker: Any) -> bool:
    """Return whether a tracker's descriptor is still its own, and the tracker there."""
    fd = tracker._fd
    try:
        found = os.fstat(fd)
        known = _pipes.get((name, fd), (found.st_dev, found.st_ino))
        writes = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    except OSError:
        return False
    if known != (found.st_dev, found.st_ino) or not stat.S_ISFIFO(found.st_mode) or not writes:
        # The program has closed it, and its number is another file's by now.
        return False
    poll = select.poll()
    poll.register(fd, 0)
    if not poll.poll(0):
        return True
    _log.warning("a resource tracker has ended and is started anew; some resources may be left behind")
    os.close(fd)
    if tracker._pid is not None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(tracker._pid, 0)
    return False


def _remember(name: str, fd: int) -> None:
    found = os.fstat(fd)
    _pipes[name, fd] = found.st_dev, found.st_ino


def remember_trackers() -> None:
    """In a forked copy of the program: take note of the trackers' pipes before it can close them."""
    for name, fd in _known_trackers():
        with contextlib.suppress(OSError):
            _remember(name, fd)

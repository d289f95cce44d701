"""What each of our processes does to itself when it starts: lifetime, signals, descriptors."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import _signal  # type: ignore[import-not-found]
import contextlib
import multiprocessing
import multiprocessing.process
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing.reduction import DupFd  # type: ignore[attr-defined, unused-ignore]
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .._options import Settings
    from .._serialize.main_module import MainSpec

__all__ = ["CAN_FORK", "DIES_WITH_PARENT", "Config", "Descriptors"]

# Forking is safe here because nobody who forks has threads. macOS has fork, but its system
# libraries do not survive it.
CAN_FORK = sys.platform.startswith("linux") and "fork" in multiprocessing.get_all_start_methods()

# What signal.signal() itself calls. Around it that one looks up members of enumerations, which costs
# each new process a quarter of a millisecond of page faults.
_set_signal = _signal.signal
_SIGINT, _SIGTERM = int(signal.SIGINT), int(signal.SIGTERM)
_SIGCHLD = int(getattr(signal, "SIGCHLD", 0))
_mask: Any = getattr(_signal, "pthread_sigmask", None)

# What the kernel allows by itself, where it does not say how many there are.
MOST_DESCRIPTORS = 1 << 20

_PR_SET_PDEATHSIG = 1
# Only Linux has it, and what is compared with it.
_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", -1)
_prctl: Any = None
if sys.platform.startswith("linux"):
    import ctypes

    _prctl = ctypes.CDLL(None, use_errno=True).prctl
# Whether the kernel kills the children of a process that ends.
DIES_WITH_PARENT = _prctl is not None


class Config(NamedTuple):
    """What a supervisor and its children take over from the parent, as it is when work begins.

    Attributes:
        most_digits: what ``sys.set_int_max_str_digits`` was given; None: this Python has no such limit.
        forked: children are forked by the supervisor, not spawned.
        share_imports: the supervisor imports what tasks import, for all later children.
        preload: names of modules that every child has from the start.
        share_preload: the supervisor imports those, for all children.
        main: how a process gets the main module.
        sender: number by which the parent knows the executor.
        share_main: the supervisor sets it up, for all children.
        try_main: the supervisor imports it, if only to see whether that goes well.
        manifest: lists the globals of the main module that every child has from the start; -1: none.
        log_setup: where in the store the parent's configuration of ``logging`` is; -1: nowhere.
        first: names of modules that the first task's function needs, to be imported before any child
            is started; none where they are not to be had, or not to be shared.
        initializer: pickle of ``(initializer, initargs)``, or None.
        max_memory_per_child: bytes of resident memory after which a child runs no further task.
        max_memory_hard: bytes of data that a task may not go beyond.
        measure_memory: children tell how much memory they took.
        has_board: the first descriptor that comes along is that of the board.
        log_levels: levels of loggers by name, where records of tasks are to reach the parent; else None.
        watched: the next one is that of a file in which to record what the supervisor's own imports say.
    """

    environ: Mapping[str, str]
    directory: str | None
    started_in: str | None
    path: list[str]
    argv: list[str]
    warnoptions: list[str]
    umask: int
    most_digits: int | None
    blocked: tuple[int, ...]
    start_method: str | None
    main: MainSpec
    sender: int
    share_main: bool
    try_main: bool
    manifest: int
    log_setup: int
    forked: bool
    share_imports: bool
    preload: tuple[str, ...]
    share_preload: bool
    first: tuple[str, ...]
    initializer: bytes | None
    max_memory_per_child: int | None
    max_memory_hard: int | None
    measure_memory: bool
    log_levels: Mapping[str, int] | None
    has_board: bool
    watched: bool

    @classmethod
    def capture(
        cls, settings: Settings, *, forked: bool, initializer: bytes | None, main: MainSpec, sender: int
    ) -> Config:
        """Return the state of this process as it is now."""
        log_levels = None
        if settings.forward_logs:
            # Not at the top: only then does a process need it.
            from .._ipc import log_forwarding

            log_levels = log_forwarding.levels()
        directory = None
        with contextlib.suppress(OSError):
            directory = os.getcwd()
        return cls(
            dict(os.environ),
            directory,
            multiprocessing.process.ORIGINAL_DIR,  # type: ignore[attr-defined, unused-ignore]
            # What was removed has no modules.
            [entry or directory or "" for entry in sys.path if entry or directory],
            list(getattr(sys, "argv", [])),
            list(sys.warnoptions),
            _read_umask(),
            sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else None,
            tuple(map(int, _mask(_signal.SIG_BLOCK, ()))) if _mask is not None else (),
            multiprocessing.get_start_method(allow_none=True),
            main,
            sender,
            forked,
            main.code is not None,
            -1,
            -1,
            forked,
            # A module may look different after the initializer than before it.
            forked and initializer is None,
            settings.preload,
            forked,
            (),
            initializer,
            settings.max_memory_per_child,
            settings.max_memory_hard,
            settings.max_memory_total is not None,
            log_levels,
            False,
            False,
        )

    @contextlib.contextmanager
    def at_start(self) -> Iterator[None]:
        """Be in the directory that the program was started in, and afterwards as :meth:`apply` has it.

        Paths at its top level are relative to that, also where it goes into another one.
        """
        if self.started_in is not None:
            with contextlib.suppress(OSError):
                os.chdir(self.started_in)
        yield
        # What the top level changes once more it has changed in the parent already.
        self.apply()

    def apply(self) -> None:
        """Make this process look like the parent did."""
        if dict(os.environ) != self.environ:
            os.environ.clear()
            os.environ.update(self.environ)
            if hasattr(time, "tzset"):
                time.tzset()
        try:
            if self.directory is None:
                raise FileNotFoundError
            os.chdir(self.directory)
        except OSError:
            _go_nowhere()
        sys.path[:] = self.path
        sys.argv[:] = self.argv
        if sys.warnoptions != self.warnoptions:
            sys.warnoptions[:] = self.warnoptions
            warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined, unused-ignore]
        os.umask(self.umask)
        if self.most_digits is not None:
            sys.set_int_max_str_digits(self.most_digits)
        if _mask is not None:
            _mask(_signal.SIG_SETMASK, self.blocked)


def _go_nowhere() -> None:
    """Be in a directory that was removed, as the program is: a relative path finds nothing there.

    That is no reason to run nothing. In any other directory a task would read and write files of others.
    """
    # Not by all processes: it brings much along.
    import tempfile

    with contextlib.suppress(OSError):
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        os.rmdir(folder)


def _read_umask() -> int:
    # Setting it is the only portable way of reading it, and threads share it.
    with contextlib.suppress(OSError, StopIteration, ValueError), open("/proc/self/status", "rb") as status:
        return int(next(line for line in status if line.startswith(b"Umask:")).split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


class Descriptors:
    """File descriptors as an argument of a process: inherited by fork, passed on by spawn."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def __reduce__(self) -> Any:
        return _rebuild, ([DupFd(fd) for fd in self.numbers],)


def _rebuild(wrapped: list[Any]) -> Descriptors:
    fds = [one.detach() for one in wrapped]
    for fd in fds:
        # It was inherited by this process, and is not for programs that tasks start.
        os.set_inheritable(fd, False)
    return Descriptors(fds)


def die_with(parent: int) -> None:
    """Have this process killed when the thread that started it ends, where the kernel can."""
    if _prctl is None:
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It was gone before the kernel knew that we care.
        os._exit(1)


def own_group() -> None:
    """Leave the terminal's group, so that Ctrl-C reaches only the user's program."""
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)


def be_never_stopped_by_the_terminal() -> None:
    """Have this process, and all that it starts, use the terminal without being in its group; comes once.

    A process in the background that writes to it, sets it up or reads from it would be stopped, and no shell
    knows of it. Where the signals are ignored the kernel lets the first two pass, and refuses the last.
    """
    for name in ("SIGTTOU", "SIGTTIN"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def default_signals(deaf: bool) -> None:
    """Give user code the signals of a fresh Python; comes after :func:`own_group`.

    Args:
        deaf: SIGTERM ends nothing. It has a handler for that, because what is ignored would be so in
            programs, too, that a task starts.
    """
    _set_signal(_SIGINT, signal.default_int_handler)
    _set_signal(_SIGTERM, _do_nothing if deaf else _signal.SIG_DFL)


def handlers() -> dict[int, Any]:
    """Return how the signals are handled that a supervisor handles in its own way."""
    return {number: signal.getsignal(number) for number in (_SIGINT, _SIGTERM, _SIGCHLD) if number}


def set_handlers(found: Mapping[int, Any], *, deaf: bool) -> None:
    """Handle signals as a main module does; comes after :func:`default_signals`.

    Args:
        found: what it has set.
        deaf: as there.
    """
    for number, handler in found.items():
        if not (deaf and number == _SIGTERM):
            _set_signal(number, handler)


def age() -> float:
    """Return the seconds since this process was started, or at least those that it was running."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        return max(0.0, time.clock_gettime(_BOOT_CLOCK) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, AttributeError):
        return time.process_time()


def progress(pid: int) -> float | None:
    """Return the processor time that a process has used, in ticks; None while it runs, or is unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] == b"R" else float(fields[11]) + float(fields[12])


def _do_nothing(number: int, frame: object) -> None:
    """Stand in for a signal's default, which is to end the process."""


def open_children() -> bool:
    """Have the ends of children interrupt this thread; return whether that was blocked."""
    return _mask is not None and _SIGCHLD in _mask(_signal.SIG_UNBLOCK, (_SIGCHLD,))


def block_children() -> None:
    """Undo :func:`open_children` where that was blocked before."""
    _mask(_signal.SIG_BLOCK, (_SIGCHLD,))


def forget_children() -> None:
    """In a forked process: no longer be told of the ends of processes that are another's children."""
    signal.set_wakeup_fd(-1)
    _set_signal(_SIGCHLD, _signal.SIG_DFL)


def ignore_interrupts() -> None:
    """Signals to the whole program are for the user's; ours end when their parent tells them, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def drop_descriptors(keep: set[int]) -> None:
    """Let go of every descriptor that was inherited without being meant for this process.

    A process that holds the other's sockets would hide the other's death. The numbers stay
    taken, by the null device: objects that still believe to own one may close it later, and must
    not hit a file that a task has opened since.
    """
    keep = keep | {0, 1, 2} | _tracker_descriptors()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in _descriptors():
        if fd not in keep and fd != null:
            with contextlib.suppress(OSError):
                os.fstat(fd)
                os.dup2(null, fd, inheritable=False)
    os.close(null)


def _descriptors() -> Iterable[int]:
    """Return the numbers of all open descriptors, and maybe others."""
    with contextlib.suppress(OSError):
        return map(int, os.listdir("/proc/self/fd"))
    limit = os.sysconf("SC_OPEN_MAX")
    return range(min(limit, MOST_DESCRIPTORS) if limit > 0 else MOST_DESCRIPTORS)


def native_threads() -> int:
    """Return how many threads this process has, those that Python knows nothing of included."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()


def can_fork() -> bool:
    """Return whether this process may fork, after imports that may have started threads."""
    if native_threads() == 1:
        return True
    if threading.active_count() > 1:
        return False
    # Some libraries, such as NumPy's, have their threads ended by a fork and start them again when needed.
    with warnings.catch_warnings():
        # Python warns of a fork beside threads since 3.12; since 3.15 that may raise, after the fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
        if not pid:
            os._exit(0)
    os.waitpid(pid, 0)
    return native_threads() == 1


@contextlib.contextmanager
def keeping_trackers() -> Iterator[None]:
    """Have a process that is forked meanwhile share the resource trackers of this one.

    Since Python 3.14 a process that multiprocessing has not forked itself lets go of them. It would start
    others when it needs one, and shared memory that a task makes would go when the task's process ends.
    """
    intent = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_fork_intent", None)
    if intent is None:
        yield
        return
    intent.preserve_fd = True
    try:
        yield
    finally:
        # In both processes.
        intent.preserve_fd = False


def _tracker_descriptors() -> set[int]:
    # Tasks may create shared memory and semaphores of their own, which these watch over.
    found = set()
    for module in ("multiprocessing.resource_tracker", "loky.backend.resource_tracker"):
        tracker = getattr(sys.modules.get(module), "_resource_tracker", None)
        fd = getattr(tracker, "_fd", None)
        if fd is not None:
            found.add(fd)
    return found

"""Has the package find only what Windows has, and ``sys.platform`` say so: a hook for a process's imports.

Only modules of ``bounded_executor`` are shown that. The standard library and loky run on the real system and
need it, so what they do on Windows is not tried.
"""

from __future__ import annotations

import builtins
import importlib
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PACKAGE = "bounded_executor"
# Modules that Windows lacks.
MISSING = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def _no_signal(name: str) -> bool:
    kept = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
    others = {
        "alarm",
        "getitimer",
        "pause",
        "setitimer",
        "siginterrupt",
        "sigpending",
        "sigwait",
        "sigwaitinfo",
    }
    return name in others or name.startswith("pthread_") or (name.startswith("SIG") and name not in kept)


def _no_os(name: str) -> bool:
    starts = (
        "MFD_",
        "O_NONBLOCK",
        "O_CLOEXEC",
        "RTLD_",
        "SCHED_",
        "W",
        "get",
        "pidfd",
        "posix",
        "sched_",
        "set",
    )
    kept = {"W_OK", "get_exec_path", "get_inheritable", "get_handle_inheritable", "get_terminal_size"}
    kept |= {"getcwd", "getcwdb", "getenv", "getlogin", "getpid", "getppid", "set_inheritable"}
    others = {"chown", "fchmod", "fork", "forkpty", "initgroups", "killpg", "memfd_create", "mkfifo", "nice"}
    others |= {"openpty", "pipe2", "pread", "preadv", "pwrite", "pwritev", "register_at_fork", "statvfs"}
    others |= {"sysconf", "sysconf_names", "uname", "wait", "wait3", "wait4", "waitid"}
    return name in others or (name.startswith(starts) and name not in kept)


def _no_socket(name: str) -> bool:
    others = {"AF_UNIX", "CMSG_LEN", "CMSG_SPACE", "MSG_CMSG_CLOEXEC", "MSG_DONTWAIT", "MSG_NOSIGNAL"}
    return name in others or name in {"SCM_CREDENTIALS", "SCM_RIGHTS", "recv_fds", "send_fds"}


LACKS: Mapping[str, Callable[[str], bool]] = {
    "mmap": lambda name: name.startswith("MAP_"),
    "multiprocessing.reduction": lambda name: name in {"DupFd", "recvfds", "sendfds"},
    "os": _no_os,
    "select": lambda name: name in {"epoll", "poll"} or name.startswith(("EPOLL", "POLL")),
    "signal": _no_signal,
    "socket": _no_socket,
    "sys": lambda name: name in {"abiflags", "getdlopenflags", "setdlopenflags"},
    "time": lambda name: name.startswith(("CLOCK_", "clock_", "tzset")),
}


class Lacking(types.ModuleType):
    """A module without some of its names, and with some others."""

    def __init__(self, real: types.ModuleType, lacks: Callable[[str], bool], **others: Any) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(others, _real=real, _lacks=lacks)

    def __getattr__(self, name: str) -> Any:
        if self._lacks(name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on Windows")
        return getattr(self._real, name)


def install() -> None:
    """Begin; the package must not have been imported."""
    shown: dict[str, types.ModuleType] = {}
    for name, lacks in LACKS.items():
        others: dict[str, Any] = {"platform": "win32"} if name == "sys" else {}
        if name == "os":
            others = {"name": "nt"}
        shown[name] = Lacking(importlib.import_module(name), lacks, **others)
    real_import = builtins.__import__

    def import_(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        importer = str((globals or {}).get("__name__", ""))
        if level or importer.partition(".")[0] != PACKAGE:
            return real_import(name, globals, locals, fromlist, level)
        if name in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
        if name in shown and (fromlist or "." not in name):
            return shown[name]
        return real_import(name, globals, locals, fromlist, level)

    builtins.__import__ = import_

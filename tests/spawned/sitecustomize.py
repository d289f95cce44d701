"""Takes away from every Python process what macOS does not have, so that the suite runs its way on Linux.

The tox environment ``spawned`` puts this folder on ``PYTHONPATH``. All processes of a run inherit that, and
Python imports this module in each of them before anything else. The package does not know of it: its modules
find what they ask for at import, ``sys.platform`` and names of the standard library, as they would find it
on macOS.

``/proc`` is missing for the package only. The tests look there for processes that are left behind.
"""

from __future__ import annotations

import errno
import importlib.machinery
import os
import select
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

PACKAGE = "bounded_executor"
# What opens files for others, and is not the one who asks.
OPENERS = {"genericpath", "io", "os", "pathlib", "pathlib._abc", "pathlib._local"}
LINUX_FOLDERS = ("/proc", "/sys")
LINUX_NAMES: dict[ModuleType, tuple[str, ...]] = {
    os: (
        "eventfd",
        "memfd_create",
        "pidfd_open",
        "posix_fadvise",
        "posix_fallocate",
        "setns",
        "splice",
        "unshare",
    ),
    select: ("epoll",),
    signal: ("SIGRTMAX", "SIGRTMIN", "pidfd_send_signal", "sigtimedwait", "sigwaitinfo"),
    socket: ("MSG_CMSG_CLOEXEC", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_PEERCRED"),
    time: ("CLOCK_BOOTTIME",),
}

for _module, _names in LINUX_NAMES.items():
    for _name in _names:
        if hasattr(_module, _name):
            delattr(_module, _name)
# On macOS it is that of kqueue.
selectors.DefaultSelector = selectors.PollSelector  # type: ignore[misc]


def _asks_for_linux(path: Any) -> bool:
    """Whether the package itself asks for a path that is there on Linux only."""
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if not isinstance(path, str) or not path.startswith(LINUX_FOLDERS):
        return False
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") in OPENERS:
        frame = frame.f_back
    name = "" if frame is None else str(frame.f_globals.get("__name__"))
    return name.partition(".")[0] == PACKAGE


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and _asks_for_linux(arguments[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])


def _without_linux(exists: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Wrap ``os.path.exists``, which no audit event tells of."""

    def wrapped(path: Any) -> bool:
        return not _asks_for_linux(os.fspath(path) if isinstance(path, os.PathLike) else path) and exists(
            path
        )

    return wrapped


def _on_macos(exec_module: Callable[..., None]) -> Callable[..., None]:
    """Wrap the execution of a module's code: the package's own modules see another platform."""

    def wrapped(loader: Any, module: ModuleType) -> None:
        before = sys.platform
        sys.platform = "darwin" if module.__name__.partition(".")[0] == PACKAGE else "linux"
        try:
            exec_module(loader, module)
        finally:
            sys.platform = before
        if module.__name__ == "multiprocessing.reduction":
            # There, who sends a descriptor waits until it was taken.
            module.ACKNOWLEDGE = True  # type: ignore[attr-defined]

    return wrapped


sys.addaudithook(_refuse)
os.path.exists = _without_linux(os.path.exists)
importlib.machinery.SourceFileLoader.exec_module = _on_macos(  # type: ignore[method-assign]
    importlib.machinery.SourceFileLoader.exec_module
)

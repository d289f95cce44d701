"""What a process hands to those that it starts and cannot always take back: rights, limits, scheduling.

The warm process was started some time ago. It may serve only a program that a new process would be the same
for, so what is read here is compared before it is reused.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["check_fork_server", "current"]

# Windows has none.
_resource: Any = importlib.import_module("resource") if os.name == "posix" else None
_LIMITS = tuple(getattr(_resource, name) for name in sorted(dir(_resource)) if name.startswith("RLIMIT_"))

_IDS = ("getresuid", "getresgid", "getuid", "getgid", "getgroups")

# Lines of the kernel's report on a thread. Ignored signals are inherited too, by any program that is started.
_STATUS = (
    b"Uid:",
    b"Gid:",
    b"Groups:",
    b"CapInh:",
    b"CapPrm:",
    b"CapEff:",
    b"CapBnd:",
    b"CapAmb:",
    b"NoNewPrivs:",
    b"Seccomp:",
    b"Seccomp_filters:",
    b"SigIgn:",
    b"Mems_allowed:",
)
# SELinux and AppArmor keep a label in one of these, and the one for programs that are started in the next.
_LABELS = ("attr/current", "attr/exec", "attr/apparmor/current", "attr/apparmor/exec")
# A thread may have namespaces, and rights, of its own.
_SELF = "/proc/thread-self"


def current() -> tuple[Any, ...]:
    """Return what a process that this thread starts now would have of it; equal where nothing differs.

    User and group ids, groups, capabilities, namespaces, root directory, the label of SELinux or AppArmor,
    control groups, resource limits, processors, priority, ignored signals and the key of
    :mod:`multiprocessing`. What the system does not have, or does not tell, is left out.
    """
    return (
        bytes(multiprocessing.current_process().authkey),
        *(_tried(getattr(os, name, None)) for name in _IDS),
        *(_tried(getattr(os, name, None), 0) for name in ("sched_getaffinity", "sched_getscheduler")),
        _tried(getattr(os, "getpriority", None), getattr(os, "PRIO_PROCESS", 0), 0),
        _tried(_real_time_priority),
        tuple(_tried(_resource.getrlimit, number) for number in _LIMITS),
        _tried(_root),
        _tried(_status),
        _tried(_namespaces),
        *(_tried(_read, name) for name in (*_LABELS, "cgroup", "oom_score_adj")),
    )


def check_fork_server() -> None:
    """Refuse multiprocessing's fork server where it has rights that this process has not, or no longer.

    Raises:
        RuntimeError: it has other user or group ids, groups or limits of capabilities.
    """
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    pid = getattr(server, "_forkserver_pid", None)
    theirs = None if pid is None else _tried(_ids, f"/proc/{pid}")
    if theirs is not None and theirs != _ids(_SELF):
        raise RuntimeError(
            f"mp_context: the fork server of multiprocessing, process {pid}, was started with other rights "
            f"({b', '.join(theirs).decode()}) than this process has now, and every worker would have them. "
            "Leave mp_context out, or start no process by the fork server before rights are given up."
        )


def _tried(function: Callable[..., Any] | None, *args: Any) -> Any:
    if function is not None:
        with contextlib.suppress(OSError, ValueError):
            return function(*args)
    return None


def _real_time_priority() -> int | None:
    return os.sched_getparam(0).sched_priority if hasattr(os, "sched_getparam") else None


def _root() -> tuple[int, int]:
    status = os.stat("/")
    return status.st_dev, status.st_ino


def _status() -> list[bytes]:
    return [line for line in _read("status").splitlines() if line.startswith(_STATUS)]


def _namespaces() -> list[str]:
    folder = f"{_SELF}/ns"
    return [os.readlink(f"{folder}/{name}") for name in sorted(os.listdir(folder))]


def _ids(process: str) -> list[bytes]:
    """Return what a new program keeps: real and effective ids, groups, the bound of capabilities."""
    lines = [line.split() for line in _read("status", process).splitlines()]
    kept = {b"Uid:": 3, b"Gid:": 3, b"Groups:": None, b"CapBnd:": None}
    return [b" ".join(words[: kept[words[0]]]) for words in lines if words and words[0] in kept]


def _read(name: str, process: str = _SELF) -> bytes:
    with open(f"{process}/{name}", "rb") as file:
        return file.read()

"""The processes of executors as the kernel shows them: a program, its keepers, supervisors and children."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path
from typing import NamedTuple


class Tree(NamedTuple):
    """Living processes below one program, by what they are; a spare supervisor is one without children."""

    keepers: list[int]
    supervisors: list[int]
    children: list[int]


def state(pid: int) -> str:
    """State letter of a process; empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def look(root: int | None = None) -> Tree:
    """Return what is there now below ``root``, this process by default."""
    below: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX":
                    below.setdefault(int(fields[1]), []).append(int(name))
    keepers = [pid for pid in below.get(root or os.getpid(), ()) if _is_keeper(pid)]
    supervisors = [pid for keeper in keepers for pid in below.get(keeper, ())]
    return Tree(keepers, supervisors, [pid for one in supervisors for pid in below.get(one, ())])


def _is_keeper(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"bounded-executor-keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def kill(pid: int, *, stop_first: bool = False) -> bool:
    """Kill a process, stopped before if asked to; False when it was gone already."""
    try:
        if stop_first:
            os.kill(pid, signal.SIGSTOP)
            # A supervisor may be let go on at once by its keeper.
            deadline = time.monotonic() + 0.02
            while state(pid) not in ("T", "Z", "") and time.monotonic() < deadline:
                time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def pick(draw: random.Random, role: str, root: int | None = None) -> int | None:
    """Return one of the processes that play a role (a field of :class:`Tree`), None where there is none."""
    found = getattr(look(root), role)
    return draw.choice(sorted(found)) if found else None

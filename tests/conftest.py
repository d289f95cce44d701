"""Every test leaves the machine as it found it, and none hangs.

After a test no process, thread, file descriptor or shared-memory segment may be left that was
not there before, apart from warm keepers within their idle time, each of which brings a fixed
number of descriptors and semaphores. After a module the warm ones are ended too, and then
nothing at all may be left.
"""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import pytest
from helpers import SPAWNED, foreign
from loky.backend import resource_tracker as loky_resource_tracker

from bounded_executor._pool import forkserver as _loky

WATCHDOG_SECONDS = 900 if SPAWNED else 120
SLOW_WATCHDOG_SECONDS = 1800
STRAGGLER_SECONDS = 10.0
WARM_STRAGGLER_SECONDS = 0.3
MARK = "BOUNDED_EXECUTOR_TEST_RUN"

os.environ[MARK] = str(os.getpid())
_stderr: list[int] = []
_bytecode: list[str] = []
# Process ids of all that this run was seen to start.
_seen: set[int] = set()
# Segments from before this run. Their names have the ids of processes long gone, and ids come again.
_older: set[str] = set(os.listdir("/dev/shm"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes long; not part of the default run")
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        _stderr.append(os.dup(2))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So it is in what a script starts in the background, and so it would be in all programs below,
        # whose tests would wait in vain for a Ctrl-C to end them.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Hundreds of interpreters start, and each would compile the package anew. Nothing is written
        # beside the sources all the same.
        _bytecode.append(tempfile.mkdtemp(prefix="bytecode-"))
        os.environ["PYTHONPYCACHEPREFIX"] = _bytecode[0]
    # One of each stays until the end, as is promised. They start here so as not to count below.
    resource_tracker.ensure_running()
    loky_resource_tracker.ensure_running()
    if multiprocessing.get_all_start_methods()[0] == "forkserver":
        # The default, since Python 3.14: tests that use the standard library's pool start it, and it stays.
        forkserver.ensure_running()


def pytest_unconfigure() -> None:
    while _stderr:
        os.close(_stderr.pop())
    while _bytecode:
        shutil.rmtree(_bytecode.pop(), ignore_errors=True)


def _processes() -> tuple[set[int], set[int]]:
    """Return all live processes of this run, and those among them that are warm keepers."""
    parents: dict[int, int] = {}
    mine = {os.getpid()}
    for name in os.listdir("/proc"):
        if name.isdigit():
            pid = int(name)
            try:
                fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            except OSError:
                continue
            parents[pid] = int(fields[1])
            if fields[0] != b"Z" and _is_marked(pid, int(fields[19])):
                mine.add(pid)
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in mine and pid not in mine}
        grown = bool(more)
        mine |= more
    mine.discard(os.getpid())
    mine -= _below(foreign, parents)
    _seen.update(mine)
    mine = {pid for pid in mine if "resource_tracker" not in _command(pid)}
    children: dict[int, list[int]] = {pid: [] for pid in mine}
    for pid in mine:
        children.setdefault(parents[pid], []).append(pid)
    keepers, spares = set(), set()
    for pid in children.get(os.getpid(), []):
        # One that waits for its next executor has at most one supervisor ready, and that no child.
        ready = children[pid]
        if _is_starter(_command(pid)) and len(ready) <= 1 and not any(children[one] for one in ready):
            keepers.add(pid)
            spares.update(ready)
    return mine - spares, keepers


def _below(pids: set[int], parents: dict[int, int]) -> set[int]:
    """Return these processes and all that descend from them."""
    found = set(pids)
    more = found
    while more:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
    return found


def _is_starter(command: str) -> bool:
    # Of our own way, or of the standard library's "spawn".
    return "spawn_main" in command


_marked: dict[tuple[int, int], bool] = {}


def _is_marked(pid: int, started: int) -> bool:
    """Whether the process comes from this run, even if its parent has gone."""
    if started < _began:
        return False
    known = _marked.get((pid, started))
    if known is None:
        try:
            environ = _read(f"/proc/{pid}/environ")
        except OSError:
            return False
        known = f"{MARK}={os.getpid()}".encode() in environ.split(b"\0")
        # A process that has not executed its program yet still has its parent's environment.
        if known:
            _marked[pid, started] = known
    return known


def _command(pid: int) -> str:
    try:
        return _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _read(path: str) -> bytes:
    """Read a file; every test reads hundreds, and this takes half the time of what a path object does."""
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


# When this process started, in the kernel's clock ticks. What is older is not of this run.
_began = int(_read("/proc/self/stat").rpartition(b")")[2].split()[19])


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


def _segments() -> set[str]:
    kinds = ("psm_", "loky-", "sem.")
    new = set(os.listdir("/dev/shm")) - _older
    return {name for name in new if name.startswith(kinds) and not _is_of_another(name)}


def _is_of_another(segment: str) -> bool:
    """Whether loky has made it in a process that none of ours was ever seen to be, such as another run's."""
    made_by = re.match(r"(?:sem\.)?loky-(\d+)-", segment)
    return made_by is not None and int(made_by[1]) not in _seen and int(made_by[1]) != os.getpid()


def _used_by_others(segment: str, mine: set[int]) -> bool:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in mine and int(name) != os.getpid():
            try:
                if f"/dev/shm/{segment}" in Path("/proc", name, "maps").read_text():
                    return True
            except OSError:
                continue
    return False


class _Snapshot:
    """What is there now."""

    def __init__(self) -> None:
        self.processes, self.keepers = _processes()
        self.descriptors = _descriptors()
        self.threads = {thread for thread in threading.enumerate() if thread.name.startswith("bounded")}
        self.segments = _segments()

    def left_since(self, before: _Snapshot) -> str:
        """Describe what was not there before; the keepers and what they need do not count."""
        lines = [
            f"process {pid}: {_command(pid)}" for pid in self.processes - self.keepers - before.processes
        ]
        keepers = len(self.keepers)
        threads = {thread for thread in self.threads - before.threads if thread.is_alive()}
        lines += [f"thread {thread.name}" for thread in threads if thread.name != "bounded-keeper"]
        if sum(thread.name == "bounded-keeper" for thread in self.threads) > keepers:
            lines.append(f"more bounded-keeper threads than the {keepers} keepers")
        more = keepers - len(before.keepers)
        if len(self.descriptors) > len(before.descriptors) + more * _Costs.descriptors:
            lines += [
                f"descriptor {fd}: {target}"
                for fd, target in self.descriptors.items()
                if target != before.descriptors.get(fd)
            ]
        new = self.segments - before.segments
        if len(new) > max(more, len(self.keepers - before.keepers)) * _Costs.segments:
            lines += [f"segment {name}" for name in new if not _used_by_others(name, self.processes)]
        return "\n".join(lines)


class _Costs:
    """What one warm keeper holds in this process; learned when the first one is ended."""

    descriptors = 0
    segments = 0


def _settled(before: _Snapshot, *, seconds: float = STRAGGLER_SECONDS) -> tuple[_Snapshot, str]:
    deadline = time.monotonic() + seconds
    while True:
        now = _Snapshot()
        left = now.left_since(before)
        if not left or time.monotonic() > deadline:
            return now, left
        gc.collect()
        # loky does not join a broken executor's process where psutil is installed; this does.
        multiprocessing.active_children()
        time.sleep(0.01)


def _learn_costs() -> None:
    warm = _Snapshot()
    _loky.close_idle()
    cold = _Snapshot()
    ended = len(warm.keepers) - len(cold.keepers)
    if ended > 0:
        _Costs.descriptors = (len(warm.descriptors) - len(cold.descriptors)) // ended
        _Costs.segments = len(warm.segments - cold.segments) // ended


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    """Fail a test that leaves something behind."""
    before = _Snapshot()
    yield
    _, left = _settled(before, seconds=0)
    if left:
        gc.collect()
        # Where keepers are warm the question can be decided, instead of waiting for long.
        now, left = _settled(before, seconds=WARM_STRAGGLER_SECONDS)
        if left and not now.keepers:
            now, left = _settled(before)
        if left and now.keepers:
            _learn_costs()
            _, left = _settled(before)
    if left:
        pytest.fail(f"the test leaves behind:\n{left}", pytrace=False)


@pytest.fixture(autouse=True, scope="module")
def leaves_nothing_warm() -> Iterator[None]:
    """Fail a module that leaves something behind once its warm keepers are ended."""
    _loky.close_idle()
    before = _Snapshot()
    yield
    _loky.close_idle()
    gc.collect()
    after, left = _settled(before)
    after_keepers = after.keepers - before.keepers
    if left or after_keepers:
        pytest.fail(f"the module leaves behind:\n{left}\nkeepers: {after_keepers}", pytrace=False)


@pytest.fixture(autouse=True)
def watchdog(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show what every thread is doing, and end the run, instead of hanging for ever."""
    slow = request.node.get_closest_marker("slow") is not None
    seconds = SLOW_WATCHDOG_SECONDS if slow else WATCHDOG_SECONDS
    faulthandler.dump_traceback_later(seconds, exit=True, file=_stderr[0])
    yield
    faulthandler.cancel_dump_traceback_later()

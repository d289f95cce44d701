"""What several test modules need: bounded waiting, gates for tasks, scripts in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bounded_executor
from bounded_executor._worker import bootstrap

SUPPORT = Path(__file__).resolve().parent
TESTS = SUPPORT.parent
# Where processes of their own find the modules of tests, as this one does.
FOLDERS = [SUPPORT, *sorted({path.parent for path in TESTS.glob("*/test_*.py")})]
PACKAGE_ROOT = Path(bounded_executor.__file__).resolve().parent.parent

# Process ids of what holds processes that are no part of this run, as a cluster is. Who adds one ends it.
foreign: set[int] = set()

# Whether task processes are new interpreters, each of which takes as long to start as a hundred forks.
SPAWNED = not bootstrap.CAN_FORK

# The tests run over the portable way, see `tox -e portable`.
PORTABLE = os.environ.get("BOUNDED_EXECUTOR_PORTABLE") == "1"

# Long enough for a slow machine; only a test that fails ever waits this long.
PATIENCE = 90.0 if SPAWNED else 30.0


def not_portable(reason: str) -> pytest.MarkDecorator:
    """Leave a test out where the suite runs over the portable way."""
    return pytest.mark.skipif(PORTABLE, reason=f"the portable way: {reason}")


def wait_until(condition: Callable[[], Any], what: str = "the condition", seconds: float = PATIENCE) -> None:
    """Return as soon as ``condition()`` is true; fail the test when it never becomes so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not become true"
        time.sleep(0.003)


class Gate:
    """Holds tasks until the test says go, and tells how many have started.

    Use it as the inner one of two context managers, so that a failing test opens it before the
    executor waits for its tasks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder / f"gate-{uuid.uuid4().hex}")
        os.mkdir(self.folder)

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *exc: object) -> None:
        self.open()

    def hold(self, value: Any = None) -> Any:
        """Run as a task: wait for the gate, return ``value``."""
        Path(self.folder, f"started-{uuid.uuid4().hex}").touch()
        self.wait()
        return value

    def wait(self) -> None:
        wait_until(self.is_open, "the gate", 110)

    def is_open(self) -> bool:
        return os.path.exists(os.path.join(self.folder, "open"))

    def open(self) -> None:
        Path(self.folder, "open").touch()

    @property
    def started(self) -> int:
        return sum(name.startswith("started-") for name in os.listdir(self.folder))

    def wait_started(self, count: int) -> None:
        wait_until(lambda: self.started >= count, f"{count} started tasks")


class Counted:
    """An iterator that counts what was pulled out of it."""

    def __init__(self, items: Any) -> None:
        self._items = iter(items)
        self.pulled = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = next(self._items)
        self.pulled += 1
        return item


def broken_input(good: int) -> Iterator[int]:
    """Yield some numbers and then raise."""
    yield from range(good)
    raise LookupError("input")


def callers_waiting(executor: Any) -> int:
    """How many callers of ``submit`` wait for a slot, as the full executor's own message says."""
    try:
        executor.submit_nowait(int)
    except bounded_executor.QueueFull as error:
        return int(str(error).rpartition(", ")[2].split()[0])
    raise AssertionError("the executor was not full")


def assert_all_free(executor: Any) -> None:
    """Every slot is free, and as many tasks run as there are slots."""
    wait_until(lambda: executor.stats().unfinished == 0, "all slots free")
    wait_until(lambda: executor.stats().undelivered == 0, "all callbacks run")
    size = min(executor.stats().queue_size, 20 if SPAWNED else 200)
    futures = [executor.submit_nowait(abs, -number) for number in range(size)]
    assert [future.result(PATIENCE) for future in futures] == list(range(size))


def script_environment(**extra: str) -> dict[str, str]:
    path = [str(PACKAGE_ROOT), *map(str, FOLDERS), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **extra}


def start_script(code: str, *arguments: object, **extra: str) -> subprocess.Popen[str]:
    """Start Python code in a fresh process, in a session of its own; warnings are errors there."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=script_environment(**extra),
        start_new_session=True,
        text=True,
    )


def run_script(
    code: str, *arguments: object, seconds: float = 2 * PATIENCE, quiet: bool = True, **extra: str
) -> str:
    """Run Python code in a fresh process, which must succeed; return what it printed."""
    with start_script(code, *arguments, **extra) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"the script hung; output: {out}\n{err}") from None
    assert process.returncode == 0, f"exit status {process.returncode}\n{out}\n{err}"
    assert not (quiet and err), err
    return out


def refuses(executor: Any) -> bool:
    """Whether the executor accepts nothing more."""
    try:
        executor.map(abs, [])
    except RuntimeError:
        return True
    return False


def status(pid: int) -> tuple[str, int]:
    """State letter and parent of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[1])


def marked_processes(name: str, value: str) -> list[int]:
    """Process ids of all that were started with this variable in their environment."""
    found = []
    needle = f"{name}={value}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if needle in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
            except OSError:
                continue
    return found

"""A real Dask cluster on loopback: a scheduler and workers, each a process of its own.

Run as a script it holds one: it starts what a line on its standard input asks for, answers each with a
line, and ends everything when that is closed, so that nothing outlives a test that dies.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# Of a worker process that a nanny watches over, and starts anew when it ends; and of one that nobody does.
NANNY, BARE = "nanny", "bare"


class Cluster:
    """The test's side of it.

    Args:
        workers: how many to start with, and ``threads`` of each.
        kind: ``NANNY`` or ``BARE``.
    """

    def __init__(self, workers: int = 2, threads: int = 1, kind: str = NANNY) -> None:
        from helpers import foreign, script_environment

        self._holder = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=script_environment(DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="10s"),
            text=True,
            bufsize=1,
        )
        foreign.add(self._holder.pid)
        self.address = self._ask("scheduler")
        for _ in range(workers):
            self.add_worker(threads, kind)

    def add_worker(self, threads: int = 1, kind: str = NANNY) -> int:
        """Start one more worker and return the process id of what was started."""
        return int(self._ask(f"worker {self.address} {threads} {kind}"))

    def kill(self, pid: int) -> None:
        """Kill a bare worker, or the nanny of one, which takes that along, or the scheduler (0)."""
        self._ask(f"kill {pid}")

    def close(self) -> None:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.wait(30)
        self._holder.stdout.close()

    def _ask(self, line: str) -> str:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.write(line + "\n")
        answer = self._holder.stdout.readline().strip()
        assert answer, f"the cluster did not do what it was asked to: {line}"
        return answer


@contextlib.contextmanager
def cluster(workers: int = 2, threads: int = 1, kind: str = NANNY) -> Iterator[Cluster]:
    found = Cluster(workers, threads, kind)
    try:
        yield found
    finally:
        found.close()


def _start(folder: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=None if os.environ.get("SHOW_CLUSTER") else subprocess.DEVNULL,
        cwd=folder,
        start_new_session=True,
    )


def _hold(folder: str) -> None:
    processes: list[subprocess.Popen[bytes]] = []
    for line in sys.stdin:
        what, *rest = line.split()
        if what == "scheduler":
            file = Path(folder, "scheduler.json")
            processes.append(_start(folder, "scheduler", "--port", "0", "--scheduler-file", str(file)))
            answer = _address(file)
        elif what == "worker":
            address, threads, kind = rest
            options = ["--nworkers", "1", "--nthreads", threads, "--local-directory", folder]
            options += ["--no-nanny"] if kind == BARE else []
            # Ends by itself when the scheduler has gone.
            options += ["--death-timeout", "10"]
            processes.append(_start(folder, "worker", address, *options))
            answer = str(processes[-1].pid)
        else:
            (pid,) = map(int, rest)
            # Not its session: trackers in it remove what it leaves behind.
            killed = next(one for one in processes if pid in (0, one.pid))
            killed.kill()
            killed.wait()
            answer = "done"
        print(answer, flush=True)
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(file: Path) -> str:
    import json

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(file.read_text())["address"])
        time.sleep(0.01)
    return ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        _hold(folder)

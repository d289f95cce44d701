"""Runs several programs of the soak at once, and sums what they count."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tally import BAD, Tally

# A program that has reported nothing for so long hangs as a whole; it is stopped for two seconds at most.
SILENT_SECONDS = 120.0
MB = 1 << 20


class One:
    """One program: a process, and the last that it has reported."""

    def __init__(self, command: list[str], seed: int, news: queue.SimpleQueue[None]) -> None:
        self.name = f"seed {seed}"
        self.state: dict[str, Any] = {"counts": {}, "complaints": [], "first": 0, "last": 0, "now": 0}
        self.killed = False
        self.heard = time.monotonic()
        self.process = subprocess.Popen([*command, "--seed", str(seed)], stdout=subprocess.PIPE)
        self._news = news
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard = time.monotonic()
            with contextlib.suppress(ValueError):
                self.state = json.loads(line)
        self._news.put(None)

    def end_if_silent(self) -> None:
        """Kill it when it hangs; its stacks are printed before where that can be."""
        if self.reader.is_alive() and time.monotonic() - self.heard > SILENT_SECONDS:
            self.killed = True
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            self.process.kill()

    def add_to(self, tally: Tally) -> None:
        """Add what it has counted."""
        tally.merge(self.state, self.name)

    def look_at_end(self, tally: Tally) -> None:
        """Note how it has ended."""
        status = self.process.wait()
        if self.killed:
            tally.complain("hung", f"{self.name}: the program reported nothing more")
        elif not self.state.get("done"):
            tally.complain("broken", f"{self.name}: the program ended with status {status} before its time")


def run(
    script: list[str],
    count: int,
    minutes: float,
    seed: int,
    rows: Callable[[Tally], list[tuple[str, object]]],
) -> int:
    """Run a script that many times at once, each with its own seed.

    Args:
        script: what to run, and its options; with ``--alone`` it is one program.
        count: how many programs.
        minutes: how long.
        seed: the first one's; the others have the next ones.
        rows: returns the lines of the summary.

    Returns:
        The exit status: 0 if all was good.
    """
    print(f"seed {seed}" + (f" to {seed + count - 1}" if count > 1 else ""), flush=True)
    command = [sys.executable, *script, "--alone", "--minutes", str(minutes)]
    began = time.monotonic()
    news: queue.SimpleQueue[None] = queue.SimpleQueue()
    programs = [One(command, seed + number, news) for number in range(count)]
    minute = 1
    while any(one.reader.is_alive() for one in programs):
        with contextlib.suppress(queue.Empty):
            news.get(timeout=min(10.0, max(0.1, began + 60 * minute - time.monotonic())))
        for one in programs:
            one.end_if_silent()
        if time.monotonic() >= began + 60 * minute:
            _print_minute(minute, programs)
            minute += 1
    tally = _sum(programs)
    for one in programs:
        one.look_at_end(tally)
    memory = max(one.state["first"] for one in programs), max(one.state["last"] for one in programs)
    lines = [("seconds", f"{time.monotonic() - began:,.0f}"), *rows(tally)]
    lines += [(name, f"{tally[name]:,}") for name in BAD]
    lines.append(("most memory of a program, at first", f"{memory[0] / MB:.1f} MB"))
    lines.append(("most memory of a program, in the end", f"{memory[1] / MB:.1f} MB"))
    lines.append(("processes left", tally["left"]))
    for label, value in lines:
        print(f"{label:<42} {value:>14}")
    for text in tally.complaints:
        print(text)
    sys.stdout.flush()
    return 1 if tally.bad or any(one.process.returncode for one in programs) else 0


def leave(status: int) -> None:
    """End this process, whatever its threads do."""
    sys.stdout.flush()
    os._exit(status)


def _sum(programs: list[One]) -> Tally:
    tally = Tally()
    for one in programs:
        one.add_to(tally)
    return tally


def _print_minute(minute: int, programs: list[One]) -> None:
    tally = _sum(programs)
    faults = sum(tally.named("injected ").values())
    memory = max(one.state["now"] for one in programs)
    print(
        f"{minute} min: {tally['rounds']:,} executors, {tally['right']:,} right, {faults:,} faults, "
        f"{memory / MB:.1f} MB, " + ", ".join(f"{name} {tally[name]}" for name in BAD),
        flush=True,
    )

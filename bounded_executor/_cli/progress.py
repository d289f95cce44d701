"""Shows how far a run is, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from ..events import TaskEvent
from .console import PROGRAM, say

__all__ = ["Counts", "Progress", "choose_progress"]

LINE_SECONDS = 5.0


class Counts:
    """What has become of the inputs so far, as tasks and as lines of the output.

    The executor tells what becomes of tasks (:meth:`take`, its ``on_event``). Which lines were written,
    and which inputs skipped, only the run knows. In order, tasks may be well ahead of the lines. Each
    count is written by one thread and read by any.

    Args:
        total: number of inputs, None if it is not known.
        before: lines that an earlier run has written.
        failed_before: how many of these have an error.

    Attributes:
        skipped: inputs that were found among those lines.
        results: lines written with a result.
        errors: lines written with an error.
        unfit: errors among these whose task succeeded, with a result that JSON has no form for.
    """

    def __init__(self, total: int | None, *, before: int = 0, failed_before: int = 0) -> None:
        self.total = total
        self._before = before
        self._failed_before = failed_before
        self.skipped = 0
        self.results = 0
        self.errors = 0
        self.unfit = 0
        self._succeeded = 0
        self._failed = 0
        self._retried = 0
        self._start = time.monotonic()

    def take(self, event: TaskEvent) -> None:
        """Learn what has become of a task, or of several."""
        if event.kind == "succeeded":
            self._succeeded += event.count
        elif event.kind == "failed":
            self._failed += event.count
        elif event.kind == "retried":
            self._retried += event.count

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._start

    @property
    def done(self) -> int:
        """Inputs that are done with, those of earlier runs included."""
        return self._succeeded + self._failed + self.skipped

    def share(self) -> int | None:
        """Return how much is done, in percent; None where the number of inputs is not known."""
        return min(100, 100 * self.done // self.total) if self.total else None

    def left(self) -> float | None:
        """Return the seconds that the rest will take at the rate so far; None where that is not known."""
        ended = self._succeeded + self._failed
        if self.total is None or not ended:
            return None
        return max(0, self.total - self.done) * self.elapsed / ended

    def texts(self, running: int, *, narrow: bool = False) -> list[str]:
        """Return what is shown while the run goes on, part by part.

        Args:
            running: tasks that run now.
            narrow: with short words.
        """
        ended = self._succeeded + self._failed
        return [
            f"{self.done}" if self.total is None else f"{self.done}/{self.total}",
            f"{self._failed_before + self._failed + self.unfit} failed",
            *([f"{self._retried} {'again' if narrow else 'retried'}"] if self._retried else []),
            f"{ended / max(self.elapsed, 1e-6):.1f}/s",
            f"{running} {'run' if narrow else 'running'}",
            clock(self.elapsed),
        ]

    def summary(self) -> str:
        """Return the line for the end of the run; it is about all lines that stand in the output."""
        lines = self.results + self.errors
        before = f", {self._before} of them written before" if self._before else ""
        retried = f", {self._retried} retried" if self._retried else ""
        return (
            f"{self.results + self._before - self._failed_before} succeeded, "
            f"{self.errors + self._failed_before} failed{before}{retried}, "
            f"in {self.elapsed:.1f} seconds, {lines / max(self.elapsed, 1e-6):.1f} per second"
        )


class Progress(Protocol):
    """Shows the counts while a run goes on."""

    def update(self) -> None:
        """Learn that a task has ended; called by the main thread."""

    def close(self) -> None:
        """Leave the screen clean."""


class _Silent:
    def update(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Lines:
    """One line every five seconds at most, when something has finished."""

    def __init__(self, counts: Counts, running: Callable[[], int]) -> None:
        self._counts = counts
        self._running = running
        self._last = time.monotonic()

    def update(self) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            done, *others = self._counts.texts(self._running())
            share, left = self._counts.share(), self._counts.left()
            say(
                ", ".join(
                    [
                        f"{done} done" if share is None else f"{done} ({share} %) done",
                        *others,
                        *([] if left is None else [f"{clock(left)} left"]),
                    ]
                )
            )

    def close(self) -> None:
        pass


class _Bar:
    """A bar that rich draws anew four times a second, in a thread of its own."""

    def __init__(self, counts: Counts, running: Callable[[], int]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._counts = counts
        self._running = running
        self._console = Console(stderr=True)
        self._live = Live(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
        )
        self._live.start()

    def _draw(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        counts = self._counts
        narrow = self._console.width < 60
        parts = counts.texts(self._running(), narrow=narrow)
        text = Text("  ".join(parts), no_wrap=True, overflow="ellipsis")
        if narrow:
            return text
        bar = ProgressBar(
            total=counts.total,
            completed=counts.done,
            pulse=counts.total is None,
        )
        # Room at the end of the line for the ^C of a terminal, which would wrap and leave the bar behind.
        row = Table.grid(padding=(0, 1), expand=True)
        row.width = self._console.width - 3
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        row.add_row(bar, text)
        return row

    def update(self) -> None:
        pass

    def close(self) -> None:
        self._live.stop()


def clock(seconds: float) -> str:
    """Return hours, minutes and seconds as 1:02:03, or 2:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def choose_progress(counts: Counts, running: Callable[[], int], *, quiet: bool, to_screen: bool) -> Progress:
    """Return a bar for a terminal, lines for anything else.

    Args:
        counts: what is shown.
        running: returns how many tasks run now; called by any thread.
        quiet: show nothing.
        to_screen: the results go to the same terminal, where a bar would stand in their way.
    """
    if quiet:
        return _Silent()
    if sys.stderr.isatty() and not to_screen:
        try:
            return _Bar(counts, running)
        except ImportError:
            say(f"for a progress bar: pip install 'loky-{PROGRAM}[cli]'")
    return _Lines(counts, running)

"""Shows how far a run is, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from .problems import PROGRAM, say

__all__ = ["Counts", "Progress", "choose_progress"]

LINE_SECONDS = 5.0


class Counts:
    """What has become of the inputs so far. Written by the main thread, read by any.

    Args:
        total: number of inputs, None if it is not known.
    """

    def __init__(self, total: int | None) -> None:
        self.total = total
        self.succeeded = 0
        self.failed = 0
        self.skipped = 0
        self._start = time.monotonic()

    @property
    def done(self) -> int:
        """Inputs written by this run."""
        return self.succeeded + self.failed

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Inputs written per second."""
        return self.done / max(self.elapsed, 1e-6)

    def of_total(self) -> str:
        """Return how many are written, earlier runs included, and of how many."""
        done = self.done + self.skipped
        return f"{done}" if self.total is None else f"{done}/{self.total}"

    def summary(self) -> str:
        """Return the line for the end of the run."""
        skipped = f", {self.skipped} written before" if self.skipped else ""
        return (
            f"{self.succeeded} succeeded, {self.failed} failed{skipped}, "
            f"in {self.elapsed:.1f} seconds, {self.rate:.1f} per second"
        )


class Progress(Protocol):
    """Shows the counts while a run goes on."""

    def update(self) -> None:
        """Learn that the counts have changed."""

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
            counts = self._counts
            say(
                f"{counts.of_total()} done, {counts.failed} failed, {counts.rate:.1f} per second, "
                f"{self._running()} running, {clock(counts.elapsed)}"
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
        parts = [
            f"{counts.failed} failed",
            f"{counts.rate:.1f}/s",
            f"{self._running()} {'run' if narrow else 'running'}",
        ]
        text = Text(
            "  ".join([counts.of_total(), *parts, clock(counts.elapsed)]), no_wrap=True, overflow="ellipsis"
        )
        if narrow:
            return text
        bar = ProgressBar(
            total=counts.total,
            completed=counts.done + counts.skipped,
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

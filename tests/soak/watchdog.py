"""Ends a program of the soak that does not come back from something."""

from __future__ import annotations

import contextlib
import faulthandler
import threading
from collections.abc import Callable, Iterator

from tally import Tally

# Nothing in a soak run takes this long, unless it hangs.
HUNG_SECONDS = 60.0


class Watchdog:
    """Watches the main thread.

    Args:
        tally: where a hang is counted.
        end: ends the program, from any thread; does not return.
    """

    def __init__(self, tally: Tally, end: Callable[[], object]) -> None:
        self._tally = tally
        self._end = end

    @contextlib.contextmanager
    def over(self, what: str, seconds: float = 2 * HUNG_SECONDS) -> Iterator[None]:
        """Do something that may hang; where it does, print all stacks and end the program."""
        timer = threading.Timer(seconds, self._late, (what, seconds))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _late(self, what: str, seconds: float) -> None:
        self._tally.complain("hung", f"{what} took more than {seconds:.0f} seconds")
        faulthandler.dump_traceback(all_threads=True)
        self._end()

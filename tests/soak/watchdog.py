"""Ends a program of the soak that does not come back from something."""

from __future__ import annotations

import contextlib
import faulthandler
import threading
from collections.abc import Callable, Iterator

from tally import Tally

# Nothing in a soak run takes this long, unless it hangs.
HUNG_SECONDS = 60.0
PATIENCE_SECONDS = 5.0


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
    def over(
        self, what: str, seconds: float = 2 * HUNG_SECONDS, about: Callable[[], str] = str
    ) -> Iterator[None]:
        """Do something that may hang; where it does, print all stacks and end the program.

        Args:
            what: for the complaint.
            seconds: after which it hangs.
            about: returns more for the complaint.
        """
        timer = threading.Timer(seconds, self._late, (what, seconds, about))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _late(self, what: str, seconds: float, about: Callable[[], str]) -> None:
        faulthandler.dump_traceback(all_threads=True)
        # An executor that hangs may not answer either.
        timer = threading.Timer(PATIENCE_SECONDS, self._give_up, (what, seconds, "it does not answer"))
        timer.daemon = True
        timer.start()
        self._give_up(what, seconds, about())

    def _give_up(self, what: str, seconds: float, more: str) -> None:
        self._tally.complain("hung", f"{what} took more than {seconds:.0f} seconds, {more}")
        self._end()

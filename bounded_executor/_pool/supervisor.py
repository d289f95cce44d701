"""The parent's connection to the supervisor of the moment: what it is told, and what is known of it.

Used by the thread of ``_pool.backend``, which listens to it and decides what its loss means.
"""

from __future__ import annotations

import pickle
from time import monotonic

from .._core.event_loop import Loop
from .._ipc.crash_report import Report
from .._ipc.frames import Channel, Kind, MainOutcome, Order
from .._log import Log
from .._worker import bootstrap
from .crashes import describe
from .session import Session
from .workers import Child

__all__ = ["Supervision"]

_log = Log()

# An import takes about as long as it took this process, where nothing blocks it for good.
IMPORT_SECONDS = 10.0
IMPORT_FACTOR = 5.0
LONGEST_IMPORT_SECONDS = 300.0


class Supervision:
    """Starts supervisors, one after the other, and passes orders to the one that is there.

    Args:
        session: what a supervisor is started from.
        loop: waits for what it says; its channel has no owner there.
    """

    def __init__(self, session: Session, loop: Loop[Child | None]) -> None:
        self._session = session
        self._loop = loop
        self._channel: Channel | None = None
        self._shared: set[str] = set()
        self._resigned = False
        self._resigned_for_imports = False
        self._report: Report | None = None
        # Why the main module could not be imported, and until when it may take; see `lose`.
        self._main_failed: str | None = None
        self._importer = 0
        self._not_started = ""
        self._main_used: float | None = None
        self._main_last = 0.0
        self.main_due: float | None = None
        """When to look whether the import of the main module goes on, by ``time.monotonic``; None: never."""

    def start(self, watched: bool) -> None:
        """Have a supervisor, a new one if there is none.

        Args:
            watched: record what the imports of a new one write to standard error.

        Raises:
            BaseException: none could be started.
        """
        if self._channel is None:
            tries_main = self._session.tries_main
            if tries_main:
                seconds = IMPORT_SECONDS + IMPORT_FACTOR * bootstrap.age()
                self.main_due = monotonic() + min(seconds, LONGEST_IMPORT_SECONDS)
                self._main_last = monotonic() + LONGEST_IMPORT_SECONDS
                self._main_used = 0.0
            self._report = Report() if watched or tries_main else None
            self._channel = self._session.start_supervisor(self._report)
            self._loop.add(self._channel, None)

    def fork(self, child: Child, fds: list[int], *, watched: bool, deaf: bool) -> None:
        """Order a child; its end of its socket goes along, and the file for its report if it has one."""
        first = self._session.first_apart
        order = pickle.dumps(Order(child.limit or 0, child.place, watched, deaf, first))
        self._tell(Kind.FORK, child.ident, body=order, fds=fds)

    def kill(self, child: Child, number: int) -> None:
        """Have a signal sent to a child; without a supervisor there is no child either.

        What ends processes goes to its whole group.
        """
        self._tell(Kind.KILL, child.ident, number)

    def share(self, names: list[str]) -> None:
        """Have modules imported for all later children, each once; ``__main__`` is not to be shared."""
        new = [name for name in names if name not in self._shared and not name.startswith("__m")]
        self._shared.update(new)
        if new:
            self._tell(Kind.IMPORT, body="\n".join(new).encode())

    def unshared(self, why: str, resigns: bool) -> None:
        """Note that modules cannot be shared, and whether the supervisor goes because of it."""
        _log.info(
            "these modules are imported by each child for itself, because the supervisor cannot fork safely "
            "after them: %s",
            why,
        )
        self._resigned = self._resigned_for_imports = resigns

    def not_started(self, why: str) -> None:
        """Note why the keeper could not start the supervisor."""
        self._not_started = why

    def failure(self) -> str:
        """Return why there is no supervisor, once, where that is known."""
        why, self._not_started = self._not_started, ""
        return why or self._session.keeper_failure()

    def heard_of_main(self, outcome: int, pid: int, why: str) -> None:
        """Note what the supervisor says of its import of the main module."""
        if outcome == MainOutcome.BEGUN:
            self._importer = pid
            return
        if outcome == MainOutcome.FAILED:
            self._main_failed = why
            return
        self.main_due = None
        if outcome == MainOutcome.LEFT_THREADS:
            _log.info(
                "the main module leaves threads running, so that the supervisor cannot fork safely after "
                "importing it: each worker process imports it for itself"
            )
            self._resigned = True
            self._session.import_main_apart()

    def gives_up_main(self) -> bool:
        """Return whether to give up the import of the main module, as it is due and does not go on.

        A process that waits for a processor, or has used one since the last look, is not blocked.
        """
        now = monotonic()
        if self.main_due is None or now < self.main_due:
            return False
        used = bootstrap.progress(self._importer)
        if now < self._main_last and (used is None or used != self._main_used):
            self._main_used = used
            self.main_due = now + IMPORT_SECONDS
            return False
        return True

    def main_failure(self, stuck: bool) -> str | None:
        """Return why the main module cannot be imported, if that is why the supervisor has ended.

        Args:
            stuck: it has not ended, but takes too long.
        """
        if not self._tries_main(stuck) or self._resigned_for_imports:
            # What was to be imported before it may have left threads running; the next one comes to it.
            return None
        if self._main_failed is not None:
            return self._main_failed
        if stuck:
            return "it takes too long"
        status = self._session.status_of(self._importer)
        return "its process ended" if status is None else f"its process {describe(status)}"

    def _tries_main(self, stuck: bool) -> bool:
        # One that has not come as far as the import has another reason to end.
        begun = stuck or bool(self._importer) or self._main_failed is not None
        return self.main_due is not None and begun

    def dismiss(self) -> bool:
        """Take the end of the supervisor as one that was asked for; return whether there is one."""
        self._resigned = True
        return self._channel is not None

    def lose(self, stuck: bool) -> tuple[bool, str]:
        """Forget a supervisor that has ended.

        Args:
            stuck: it has not ended, but takes too long.

        Returns:
            Whether its end is no fault of its own, as it had said that it would end or has tried the main
            module; and its last words, where it was watched.
        """
        assert self._channel is not None
        self._loop.remove(self._channel)
        self._channel.close()
        self._channel = None
        self._shared.clear()
        # What the modules of the first task do at import may have been what ended it.
        self._session.import_first(())
        if self._resigned_for_imports:
            self._session.import_nothing()
        resigned = self._resigned or self._tries_main(stuck)
        self._resigned = self._resigned_for_imports = False
        self._main_failed = self.main_due = None
        self._importer = 0
        return resigned, self._take_words()

    def _take_words(self) -> str:
        report, self._report = self._report, None
        return "" if report is None else report.last_words()

    def end(self) -> None:
        """Have the supervisor end, and with it all children that there still are."""
        if self._channel is not None:
            self._loop.remove(self._channel)
            self._session.end_supervisor(self._channel)
            self._channel = None
        self._take_words()

    def _tell(
        self, kind: int, ident: int = 0, index: int = 0, body: bytes = b"", fds: list[int] | None = None
    ) -> None:
        if self._channel is not None:
            self._channel.send(kind, ident, index, body, fds)
            self._loop.watch(self._channel, None)

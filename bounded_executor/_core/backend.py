"""What stands below the queue: the contract between an executor and whatever runs its work.

``_pool.backend`` starts task processes of its own. ``_adapters.backend`` hands work on to an executor that
exists already. The executor, its ``Core`` and its maps know nothing else of either.

Each has one thread, which owns everything that it keeps, so that nothing here needs a lock. Others only leave
notes in its loop.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from .._flag import Flag
from .._log import Log, say_through
from .._serialize.functions import Codec
from .callbacks import run_no_callbacks_here
from .dispatcher import Dispatcher
from .event_loop import Loop
from .lifecycle import ErrorFactory, broken
from .work import Work

__all__ = ["KILL", "Backend"]

_log = Log()

# What no process can ignore. On Windows SIGTERM is that.
KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)


class Backend(ABC):
    """Runs a dispatcher's work on a thread of its own, which alone calls ``Dispatcher.take``.

    ``wake``, ``note``, ``discard`` and ``ignore_sigterm`` take no lock, and never block.

    Args:
        dispatcher: where work comes from and outcomes go.
        codec: what calls become on their way.
        travels_together: short tasks may travel together where nobody has asked for it.
        on_end: called by the thread when all has ended, and before the delivery ends.
        name: the thread's.

    Attributes:
        ended: all has ended, and everybody has been told.
        launched: there is a thread.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        codec: Codec,
        on_end: Callable[[], None],
        *,
        travels_together: bool,
        name: str,
    ) -> None:
        self.codec = codec
        self.travels_together = travels_together
        self.ended = Flag()
        self.launched = False
        self._dispatcher = dispatcher
        self._on_end = on_end
        self._name = name
        self._loop: Loop[Any] = Loop()
        self.wake = self._loop.wake
        self.note = self._loop.note
        self._thread: threading.Thread | None = None
        self._faulty = False

    @property
    @abstractmethod
    def capacity(self) -> int:
        """Tasks that it can run at once, as far as it knows now; at least 1."""

    @abstractmethod
    def needs(self, fn: Callable[..., Any]) -> Any:
        """Return what :meth:`start` wants to know of the first task's function; may run user code."""

    def start(self, needs: Any) -> None:
        """Start the thread; :meth:`wait_until_started` is to follow.

        The caller may be interrupted at any moment: the thread goes on, and all is as it should be.

        Args:
            needs: what :meth:`needs` has returned.

        Raises:
            BaseException: there is no thread to be had, or the caller was interrupted. ``launched`` tells
                whether there is a thread all the same; if not, nothing was started.
        """
        try:
            self._prepare(needs)
            self._loop.open()
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self.launched = True
            self._thread.start()
        except BaseException as error:
            if isinstance(error, Exception):
                self.launched = False
            if not self.launched:
                self._let_go()
                self._loop.close()
            raise

    @abstractmethod
    def wait_until_started(self) -> None:
        """Wait until the first task could be run, or the dispatcher is broken because none ever can."""

    @abstractmethod
    def at_exit(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called when the interpreter ends, while work can still be run."""

    @abstractmethod
    def revoke(self, work: Work) -> None:
        """End this work, which is by itself and which nobody wants any more, as far as it can be ended."""

    @abstractmethod
    def kill(self, number: int) -> None:
        """End what runs, as far as it can be ended, where there are processes by this signal."""

    @abstractmethod
    def ignore_sigterm(self) -> None:
        """Start nothing from now on that SIGTERM to all of the program's processes would end."""

    @abstractmethod
    def discard(self) -> None:
        """Let go of what was opened, for an executor that ends before it started."""

    @abstractmethod
    def running(self) -> int:
        """Return how many tasks it has been given that have not ended."""

    @abstractmethod
    def children(self) -> dict[str, Any]:
        """Return what it knows of processes of its own: fields of ``ExecutorStats``."""

    def join(self) -> None:
        """Wait until all has ended; not for the thread itself to call."""
        self._loop.wake_surely()
        self.ended.wait()
        thread = self._thread
        if thread is not None:
            thread.join()
            # The collector may come late to an executor that has ended; its thread goes now.
            self._thread = None

    def is_current(self) -> bool:
        """Whether the caller is on a thread that :meth:`join` would wait for, such as that of a task."""
        return self._thread is threading.current_thread()

    # Everything below runs on the thread, apart from `_prepare`.

    def _run(self) -> None:
        run_no_callbacks_here()
        say_through(self._dispatcher.delivery.call)
        try:
            self._serve()
        except BaseException as error:
            self._fault(error)
        deliver, stop = self._dispatcher.deliver, self._dispatcher.delivery.stop
        for step in (deliver, self._let_go, self._loop.close, self._on_end, stop):
            try:
                step()
            except BaseException as error:
                self._fault(error)
                # What it had come to by then is done; the rest is to be done as well.
                with contextlib.suppress(BaseException):
                    step()
        self.ended.set()

    def _fault(self, error: BaseException) -> None:
        """A fault of this package must leave no caller waiting and no process running. Raises nothing."""
        if self._faulty:
            _log.debug("one more error of the executor's own thread", exc_info=True)
            return
        self._faulty = True
        _log.critical("the executor's own thread failed", exc_info=True)
        make = broken(f"the executor's own thread failed with {error!r}", error)
        try:
            self._dispatcher.break_off(self._works(), make)
            self._end_all()
        except BaseException:
            _log.debug("not all could be ended after an error of the executor's own thread", exc_info=True)

    def _break(self, message: str, cause: BaseException | None = None) -> None:
        """Fail all that waits and all that is held, and end what runs."""
        make = broken(message, cause)
        self._dispatcher.deliver()
        self._dispatcher.break_(make)
        self._fail_held(make)

    def _is_done(self) -> bool:
        """Whether nothing waits any more, and nothing will come."""
        return self._dispatcher.drained and not self._dispatcher.waiting_works

    @abstractmethod
    def _prepare(self, needs: Any) -> None:
        """Get ready for :meth:`_serve`, on the thread of the first ``submit``."""

    @abstractmethod
    def _serve(self) -> None:
        """Run work until all is done."""

    @abstractmethod
    def _fail_held(self, make_error: ErrorFactory) -> None:
        """Fail what has been taken from the dispatcher and has not ended, and end what runs."""

    @abstractmethod
    def _works(self) -> list[Work]:
        """Return all work that was taken from the dispatcher and may not have ended."""

    @abstractmethod
    def _end_all(self) -> None:
        """End all that runs, now, without counting."""

    @abstractmethod
    def _let_go(self) -> None:
        """End what work was run by, and give back what has been opened, however far that has come."""

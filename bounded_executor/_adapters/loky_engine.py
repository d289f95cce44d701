"""An engine (``_adapters.engine``) of worker processes that loky starts.

Each is the only worker of its loky executor.

A loky executor with several workers gives a call to any of them, and breaks as a whole when one dies. With
one worker in each, this engine knows which process runs which task. A process that dies costs its own task
and nothing else. A process that has run its number of tasks ends in order. A process whose task takes too
long can be killed. Nothing here hands sockets over, shares memory or forks.

Each loky executor has two threads in this process. They report how calls end; the backend's thread does all
else.
"""

from __future__ import annotations

import contextlib
import random
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Pipe
from time import monotonic
from typing import Any

import loky
from loky import process_executor
from loky.process_executor import ShutdownExecutorError

from .._core.work import Work
from .._log import Log
from .._memory import proc
from .._options import Settings
from .._pool.crashes import describe
from .._serialize.functions import Codec
from . import portable_worker
from .engine import Ended, outcomes_of, wire_form
from .portable_worker import Prepared, Ran, Setup

__all__ = ["LokyEngine", "Worker", "WorkerDied"]

_log = Log()

# Processes that may end one after the other before any was prepared.
MAX_STILLBORN = 3
# For the interpreter of a worker as it starts. The environment of tasks is another one, see `Setup`.
_ENVIRON = {
    # No module is imported from the working directory unless the program would do so.
    "PYTHONSAFEPATH": "1",
    # Where psutil is installed loky replaces a worker that has grown, by one that was not prepared.
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18",
}


class WorkerDied(Exception):
    """The process of a message ended before the message did.

    Args:
        worker: the process.
        why: what loky says of it.
        begun: the process had begun the message.
    """

    def __init__(self, worker: Worker, why: BaseException, *, begun: bool) -> None:
        super().__init__(str(why))
        self.worker = worker
        self.begun = begun
        self.__cause__ = why

    @property
    def how(self) -> str:
        """How it ended, in words, as far as that is known."""
        if self.worker.killed:
            return "was killed"
        return _how(self.__cause__)

    @property
    def known(self) -> dict[str, Any]:
        """How it ended, as attributes of the error of its task."""
        status = _status_of(self.__cause__)
        return {
            "pid": self.worker.pid,
            "signal": -status if status is not None and status < 0 else None,
            "exit_status": status if status is not None and status >= 0 else None,
        }


def _status_of(error: BaseException | None) -> int | None:
    """Return a process's exit status, below zero the signal that ended it; None where it is not known."""
    # loky tells it nowhere else, and on Windows not at all.
    codes = re.findall(r"\w\((-?\d+)\)", str(error))
    return int(codes[0]) if codes else None


def _how(error: BaseException | None) -> str:
    status = _status_of(error)
    return "ended abruptly" if status is None else describe(status)


class Worker:
    """A process, or one that is starting.

    Attributes:
        pid: its process id; None until it is prepared.
        work: what it runs, or None.
        since: when that, or its start, began, on the clock of ``time.monotonic``.
        left: tasks that it may still be given; None: any number.
        killed: it was ended from here.
        timed_out: it was, because its task took too long.
    """

    __slots__ = (
        "_known",
        "_link",
        "_pool",
        "_theirs",
        "_thread",
        "killed",
        "left",
        "pid",
        "since",
        "timed_out",
        "work",
    )

    def __init__(self, left: int | None, shared: list[Any]) -> None:
        self.left = left
        self.pid: int | None = None
        self.work: Work | None = None
        self.since = monotonic()
        self.killed = False
        self.timed_out = False
        self._known = 0
        self._thread: threading.Thread | None = None
        # The process sends a message here when it begins one, and ends when this end is closed.
        self._link, self._theirs = Pipe()
        self._pool: Any = loky.ProcessPoolExecutor(
            1,
            env=_ENVIRON,
            # These can only be given to a starting process.
            initializer=portable_worker.receive,
            initargs=(self._theirs, shared),
        )

    def call(self, stored: bytes, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have the process call a function, whose last argument is what is new in the store.

        Args:
            stored: all of the store from the place on that :attr:`known` tells.
        """
        future: Future[Any] = self._pool.submit(fn, *args, stored)
        self._known += len(stored)
        # The first call has started it. loky forgets the thread when the executor is shut down.
        self._thread = self._thread or self._pool._executor_manager_thread
        self._theirs.close()
        # loky registers its hook for the end of the interpreter once more with each executor: what Python's
        # register returns is None, which loky takes for "not yet". The list of hooks would grow with each
        # process, loky's would run before ours, and at that end no process could be started any more.
        if process_executor.process_pool_executor_at_exit is None:
            process_executor.process_pool_executor_at_exit = True
        return future

    def has_begun(self) -> bool:
        """Return whether it has begun a message since this was asked last."""
        begun = False
        with contextlib.suppress(EOFError, OSError):
            while self._link.poll():
                self._link.recv_bytes()
                begun = True
        return begun

    @property
    def known(self) -> int:
        """Bytes of the store that it has been sent."""
        return self._known

    @property
    def is_able(self) -> bool:
        """Whether it can be given a task, now or after the one that it has."""
        return not self.killed and self.left != 0

    def end(self, *, kill: bool = False) -> None:
        """Have it end, in order or by force; :meth:`join` is to follow."""
        # Once more, and in order, would take the force back.
        if not self.killed:
            self.killed = kill
            self._pool.shutdown(wait=False, kill_workers=kill)

    @property
    def has_ended(self) -> bool:
        """Whether :meth:`join` would return at once."""
        return self._thread is None or not self._thread.is_alive()

    def join(self) -> None:
        """Wait until it has ended, and let go of everything."""
        if self._thread is not None:
            self._thread.join()
        self._theirs.close()
        self._link.close()


class LokyEngine:
    """Runs messages in workers of loky's, as many at once as the settings say.

    Args:
        settings: the executor's checked parameters.
        codec: what calls become on their way.
        stored: returns what is in the executor's store from a place on.
        shared: objects that every process is given when it starts.
        waiting: returns how many tasks wait that were not handed on.
    """

    batch_seconds: float | None = None
    # What waits behind a task in a process could not be run by another one.
    messages_per_worker = 1
    ahead_seconds = 0.0
    counts_workers = True

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        stored: Callable[[int], bytes],
        shared: list[Any],
        waiting: Callable[[], int],
    ) -> None:
        self.codec = codec
        self.capacity = settings.max_workers
        counts = (settings.max_tasks_per_child, settings.task_timeout, settings.task_retries or None)
        # These are about single tasks.
        self.limit = 1 if any(one is not None for one in counts) else None
        self.deaf = False
        # None: none is to be started now.
        self.setup: Setup | None = None
        self.started = 0
        self.replaced = 0
        self.stillborn = 0
        # Messages in a row that reached a process at its end. One that ends processes itself gets the blame.
        self.not_begun = 0
        self._settings = settings
        self._stored = stored
        self._shared = shared
        self._waiting = waiting
        self._report: Callable[[int, Ended], None]
        self._workers: list[Worker] = []
        self._queue: deque[tuple[int, Work]] = deque()
        # Who does what: by the ticket of a message, or by a number below zero for its preparation.
        self._doing: dict[int, Worker] = {}
        self._records: list[bytes] = []
        self._ending: list[Worker] = []

    # The engine

    def open(self, report: Callable[[int, Ended], None], changed: Callable[[], None]) -> None:
        self._report = report

    def submit(self, ticket: int, work: Work) -> None:
        # The backend is to call `assign` when it has nothing more to hand on.
        self._queue.append((ticket, work))

    def cancel(self, ticket: int) -> None:
        worker = self._doing.get(ticket)
        if worker is not None:
            self.kill(worker)
            return
        for one in self._queue:
            if one[0] == ticket:
                self._queue.remove(one)
                self._report(ticket, CancelledError())
                return

    def look(self) -> None:
        """Do nothing: the number of workers is fixed."""

    def is_current(self) -> bool:
        # The end of a worker waits for its executor's thread.
        return type(threading.current_thread()).__module__.partition(".")[0] == "loky"

    def close(self) -> None:
        for worker in list(self._workers):
            self._drop(worker, kill=worker.work is not None or worker.pid is None)
        while self._ending:
            self._ending.pop().join()

    # Its workers

    def __len__(self) -> int:
        return len(self._workers)

    def working(self) -> Iterator[Worker]:
        """Return those that run a task."""
        return (worker for worker in list(self._workers) if worker.work is not None)

    def starting(self) -> Iterator[Worker]:
        """Return those that are not prepared yet."""
        return (worker for worker in list(self._workers) if worker.pid is None)

    def memory_bytes(self) -> dict[int, int]:
        """Return the resident memory of each process; for any thread to call."""
        pids = [worker.pid for worker in list(self._workers) if worker.pid is not None]
        return {pid: proc.resident(pid) for pid in pids}

    def records(self) -> list[bytes]:
        """Return the log records of tasks, to be handled before the outcomes of :meth:`settle`."""
        found, self._records = self._records, []
        return found

    def start_first(self) -> None:
        """Start a process before anything is to be done.

        Raises:
            Exception: it could not be started.
        """
        self._start()

    def assign(self) -> None:
        """Hand messages to processes, and start as many as are needed."""
        while self._queue:
            worker = self._idle()
            if worker is None:
                break
            self._give(worker)
        if self.setup is None:
            return
        for _ in range(self._missing()):
            try:
                self._start()
            except Exception as error:
                if not self._workers:
                    raise
                # One of the others will bring an outcome, and then it is tried again.
                _log.warning(
                    "a worker process could not be started, the executor goes on with the others: %r", error
                )
                return

    def kill(self, worker: Worker) -> None:
        """End a process with its task."""
        worker.end(kill=True)

    def settle(self, number: int, ended: Any) -> Ended | Prepared | None:
        """Take what came of a message, or of a preparation.

        Returns:
            How the message ended, or what came of a preparation that failed; None: nothing is to be done.
        """
        worker = self._doing.pop(number, None)
        if worker is None:
            # It was cancelled before any process had it.
            return ended if number > 0 else None
        if number < 0:
            return self._prepared(worker, ended)
        found: Ended
        if isinstance(ended, (BrokenProcessPool, ShutdownExecutorError, CancelledError)):
            begun = worker.has_begun() or self.not_begun >= MAX_STILLBORN
            self.not_begun = 0 if begun else self.not_begun + 1
            self._drop(worker)
            return WorkerDied(worker, ended, begun=begun)
        worker.has_begun()
        worker.work = None
        self.not_begun = 0
        if isinstance(ended, Ran):
            self._records += ended.records
            found = outcomes_of(ended.outcomes)
        else:
            found = ended
        if worker.killed:
            # In vain: it had done its work.
            self._drop(worker)
        elif worker.left == 0:
            self.replaced += 1
            self._drop(worker)
        return found

    def renew(self) -> None:
        """Have no process be given a task that is there now."""
        for worker in list(self._workers):
            if worker.work is None:
                self._drop(worker, kill=worker.pid is None)
            else:
                worker.left = 0

    def _prepared(self, worker: Worker, ended: Any) -> Ended | Prepared | None:
        if worker not in self._workers:
            return None
        if isinstance(ended, Prepared) and not ended.failed:
            worker.pid = ended.pid
            self.stillborn = 0
            return None
        self._drop(worker, kill=True)
        if isinstance(ended, Prepared):
            return ended
        if isinstance(ended, BrokenProcessPool):
            self.stillborn += 1
            _log.info("a worker ended: its %s", f"process was starting, and {_how(ended)}")
        return WorkerDied(worker, ended, begun=False)

    def _idle(self) -> Worker | None:
        """Return a process that can be given a task now."""
        busy = 0
        idle = None
        for worker in self._workers:
            if worker.work is not None:
                busy += 1
            elif worker.pid is not None and worker.is_able:
                idle = idle or worker
        return idle if busy < self.capacity else None

    def _missing(self) -> int:
        """Return how many processes to start."""
        able = [worker for worker in self._workers if worker.is_able]
        busy = sum(worker.work is not None for worker in able)
        return max(0, min(self.capacity, len(self._queue) + self._waiting() + busy) - len(able))

    def _give(self, worker: Worker) -> None:
        ticket, work = self._queue[0]
        try:
            future = worker.call(self._stored(worker.known), portable_worker.run, *wire_form(work), ticket)
        except (BrokenProcessPool, ShutdownExecutorError) as error:
            # It has ended by itself, between two tasks.
            _log.info("a worker ended: its %s", f"process {worker.pid} {_how(error)}")
            self._drop(worker)
            return
        self._queue.popleft()
        worker.work = work
        worker.since = monotonic()
        if worker.left is not None:
            worker.left -= work.count
        self._doing[ticket] = worker
        future.add_done_callback(partial(self._done, ticket))

    def _start(self) -> None:
        limit = self._settings.max_tasks_per_child
        if limit is not None:
            limit += random.randint(0, self._settings.max_tasks_jitter)
        worker = Worker(limit, self._shared)
        self.started += 1
        number = -self.started
        try:
            future = worker.call(self._stored(0), portable_worker.prepare, self.setup, self.deaf)
        except BaseException:
            worker.end(kill=True)
            self._keep(worker)
            raise
        self._workers.append(worker)
        self._doing[number] = worker
        future.add_done_callback(partial(self._done, number))

    def _done(self, number: int, future: Future[Any]) -> None:
        """Pass on how a call ended; on a thread of loky's."""
        ended: Any
        try:
            ended = future.exception()
            if ended is None:
                ended = future.result()
        except BaseException as error:
            ended = error.with_traceback(None)
        self._report(number, ended)

    def _drop(self, worker: Worker, *, kill: bool = False) -> None:
        """Have a process end, and know nothing of it any more."""
        worker.work = None
        if worker in self._workers:
            self._workers.remove(worker)
        worker.end(kill=kill)
        self._keep(worker)

    def _keep(self, worker: Worker) -> None:
        """Remember a process whose end is to be waited for."""
        for one in list(self._ending):
            if one.has_ended:
                one.join()
                self._ending.remove(one)
        if worker not in self._ending:
            self._ending.append(worker)

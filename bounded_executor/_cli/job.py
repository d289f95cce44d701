"""One run: inputs are read and submitted by one thread, results written by another.

The reading thread may wait for standard input, or for room in the executor, for as long as it takes;
meanwhile the main thread writes what finishes. All that happens reaches the main thread through one
queue, Ctrl-C and SIGTERM included.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from .._future import BoundedFuture
from .._process_pool import BoundedProcessPoolExecutor
from .._serialize.pickling import remote_traceback
from ..errors import BrokenProcessPool, TaskTimeout, TerminatedWorkerError
from .console import Unusable, one_line, say
from .inputs import Inputs, Item
from .output import Output, result_line
from .progress import Counts, Progress
from .resume import Written

__all__ = ["Run"]


class _Task:
    """An input that was submitted, and its future."""

    __slots__ = ("future", "item")

    def __init__(self, item: Item, future: BoundedFuture[Any]) -> None:
        self.item = item
        self.future = future


class _Ended:
    """The reading thread has ended: after the last input, or because of an error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Interrupted:
    """Ctrl-C was pressed, or SIGTERM has come."""

    def __init__(self, number: int) -> None:
        self.number = number


class _Done:
    """A task's future is resolved."""

    __slots__ = ("task",)

    def __init__(self, task: _Task) -> None:
        self.task = task


def _pool_broke(error: BaseException | None) -> bool:
    # A process that died is the error of its own task only.
    return isinstance(error, BrokenProcessPool) and not isinstance(error, TerminatedWorkerError)


class Run:
    """A run of a function over all inputs.

    Args:
        executor: runs the tasks; it is shut down by :meth:`run`.
        function: what is called.
        inputs: what it is called with; they are closed when all are read.
        output: where the results go; it is closed by :meth:`run`.
        written: the lines of the run that this one continues; None for a new run.
        ordered: write results in the order of the inputs.
        keep_going: go on after an error.
        counts: is told what was written and skipped.
        progress: is told of tasks that have ended; it is closed by :meth:`run`.
    """

    def __init__(
        self,
        executor: BoundedProcessPoolExecutor,
        function: Callable[..., Any],
        inputs: Inputs,
        output: Output,
        *,
        written: Written | None,
        ordered: bool,
        keep_going: bool,
        counts: Counts,
        progress: Progress,
    ) -> None:
        self._executor = executor
        self._function = function
        self._inputs = inputs
        self._output = output
        self._written = written
        self._ordered = ordered
        self._keep_going = keep_going
        self._counts = counts
        self._progress = progress
        self._events: SimpleQueue[_Task | _Done | _Ended | _Interrupted] = SimpleQueue()
        # One place for each input that was read and is not written yet.
        self._places = threading.Semaphore(executor.stats().queue_size)
        # Submitted and not written, in the order of the inputs.
        self._tasks: OrderedDict[_Task, None] = OrderedDict()
        # One was left out; in order, none behind it can be written.
        self._gap = False
        self._stopping = False
        # What failed in an earlier run stands in the output too.
        self._status = 1 if written is not None and written.failed else 0
        # Those of the signals that this run takes, to be put back.
        self._handlers: dict[int, Any] = {}

    def run(self) -> int:
        """Run to the end, the first error, Ctrl-C or SIGTERM.

        Returns:
            The exit status.

        Raises:
            ReaderGone: nothing reads standard output any more.
            Unwritable: a result could not be written.

        To be called in the main thread, once.
        """
        self._take_signals()
        # It may wait for standard input for ever; the program must be able to end.
        threading.Thread(target=self._read, name="inputs", daemon=True).start()
        try:
            self._loop()
        except BaseException:
            self._executor.kill_workers()
            raise
        finally:
            try:
                self._executor.shutdown(wait=True)
            finally:
                self._progress.close()
                self._output.close()
                self._give_signals_back()
        return self._status

    def _take_signals(self) -> None:
        # What a shell or nohup has had ignored stays so.
        for taken in (signal.SIGINT, signal.SIGTERM):
            if (handler := signal.getsignal(taken)) not in (signal.SIG_IGN, None):
                self._handlers[taken] = handler
        if signal.SIGTERM in self._handlers:
            # systemd sends it to all processes at once. This keeps those of tasks from dying of it: their
            # inputs would be written as errors. The executor itself is not to drain.
            self._executor.drain_on_sigterm()
        for number in self._handlers:
            signal.signal(number, self._interrupt)

    def _give_signals_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        # The second one ends the program wherever it is.
        for taken in self._handlers:
            end = signal.default_int_handler if taken == signal.SIGINT else signal.SIG_DFL
            signal.signal(taken, end)
        self._events.put(_Interrupted(number))

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._unwritten():
                future = self._executor.submit(self._function, *item.args, **item.kwargs)
                task = _Task(item, future)
                self._events.put(task)
                future.add_done_callback(partial(self._tell, task))
        except BaseException as caught:
            error = caught
        # By this thread only: closing waits for who reads, and that may be for ever.
        self._inputs.close()
        self._events.put(_Ended(error))

    def _tell(self, task: _Task, _: Future[Any]) -> None:
        self._events.put(_Done(task))

    def _unwritten(self) -> Iterator[Item]:
        inputs = iter(self._inputs)
        written = self._written
        while True:
            self._places.acquire()
            for item in inputs:
                if written is None or not written.has(item, self._inputs.name):
                    break
                self._counts.skipped += 1
            else:
                if written is not None:
                    written.check_all_found(self._inputs.name)
                return
            yield item

    def _loop(self) -> None:
        reading = True
        while self._tasks or (reading and not self._stopping):
            try:
                event = self._events.get(timeout=self._output.seconds_to_sync())
            except Empty:
                self._output.sync()
                continue
            if isinstance(event, _Interrupted):
                self._write_finished_and_kill(event.number)
                return
            if isinstance(event, _Ended):
                reading = False
                self._reading_ended(event.error)
            else:
                self._take(event)
                if isinstance(event, _Done):
                    self._progress.update()

    def _take(self, event: _Task | _Done) -> None:
        if isinstance(event, _Task):
            self._tasks[event] = None
        elif self._ordered:
            self._write_first_ones()
        elif event.task in self._tasks:
            self._write(event.task)

    def _reading_ended(self, error: BaseException | None) -> None:
        if isinstance(error, Unusable):
            # What was read before is finished and written.
            say(str(error))
            self._status = 2
        elif error is not None and not self._stopping:
            self._break_off(error)

    def _write_first_ones(self) -> None:
        while self._tasks:
            first = next(iter(self._tasks))
            if not first.future.done():
                return
            self._write(first)

    def _write(self, task: _Task) -> None:
        del self._tasks[task]
        future = task.future
        error = None if future.cancelled() else future.exception()
        if _pool_broke(error):
            self._break_off(error)
        if future.cancelled() or _pool_broke(error):
            self._gap = True
            return
        if self._gap and self._ordered:
            # Lines behind it would not be those of the first inputs.
            return
        line, problem = _line_of(task, error)
        self._output.write(line)
        self._places.release()
        if problem is None:
            self._counts.results += 1
            return
        self._counts.errors += 1
        if error is None:
            self._counts.unfit += 1
        self._failed(task.item, problem)

    def _failed(self, item: Item, problem: str) -> None:
        self._status = max(self._status, 1)
        if self._keep_going or self._stopping:
            return
        first_line = problem.partition("\n")[0]
        say(f"line {item.line} of {self._inputs.name}: {first_line}; stopped, --keep-going goes on")
        self._stop()

    def _break_off(self, error: BaseException | None) -> None:
        if self._stopping or error is None:
            return
        cause = "" if error.__cause__ is None else f" ({one_line(error.__cause__)})"
        say(f"the run broke off: {one_line(error)}{cause}")
        self._status = max(self._status, 1)
        self._stop()

    def _stop(self) -> None:
        """Have no more inputs started; those that run are finished and written."""
        self._stopping = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _write_finished_and_kill(self, number: int) -> None:
        with contextlib.suppress(Empty):
            while True:
                event = self._events.get_nowait()
                if isinstance(event, (_Task, _Done)):
                    self._take(event)
        say("interrupted" if number == signal.SIGINT else "ended by SIGTERM")
        # As shells tell of a program that a signal has ended.
        self._status = 128 + number
        self._executor.kill_workers()


def _line_of(task: _Task, error: BaseException | None) -> tuple[bytes, str | None]:
    """Return a task's line, and what its error is."""
    seconds, attempts = task.future.seconds, task.future.attempts
    value = task.item.value
    traceback = None
    if error is not None:
        problem = f"{type(error).__name__}: {error}"
        traceback = error.stack if isinstance(error, TaskTimeout) else remote_traceback(error)
    else:
        try:
            return result_line(value, {"result": task.future.result()}, seconds, attempts), None
        except Exception as unfit:
            problem = f"{type(unfit).__name__}: the result is not JSON-serializable: {unfit}"
    return result_line(value, {"error": problem, "traceback": traceback}, seconds, attempts), problem

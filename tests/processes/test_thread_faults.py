"""A fault in any step of the executor's own thread: every future fails, every process ends, nobody waits."""

from __future__ import annotations

import functools
import inspect
import itertools
import logging
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tasks
from helpers import PATIENCE, Gate, status, wait_until
from test_hold_up import Scene as HeldUp
from tree import look

from bounded_executor import (
    BoundedExecutor,
    BoundedProcessPoolExecutor,
    BrokenProcessPool,
    TerminatedWorkerError,
)
from bounded_executor._adapters.backend import Inner
from bounded_executor._adapters.engine import ExecutorEngine
from bounded_executor._core.backend import Backend
from bounded_executor._core.callbacks import Delivery
from bounded_executor._core.completion import Arrivals
from bounded_executor._core.dispatcher import Dispatcher
from bounded_executor._core.event_loop import Loop
from bounded_executor._core.queue import Queue
from bounded_executor._core.runtime import Core
from bounded_executor._core.semaphore import Ledger
from bounded_executor._core.work import Calls, FutureSink, Work
from bounded_executor._executor import BoundedExecutor as Executor
from bounded_executor._future import BoundedFuture
from bounded_executor._ipc.frames import Channel, Frame, Kind
from bounded_executor._ipc.scoreboard import Board
from bounded_executor._map.results import Results
from bounded_executor._map.run import MapRun
from bounded_executor._pool import forkserver
from bounded_executor._pool.backend import Workers
from bounded_executor._pool.crashes import Endings
from bounded_executor._pool.outcomes import Hearing
from bounded_executor._pool.scheduler import Giver
from bounded_executor._pool.session import Session
from bounded_executor._pool.spawner import Starter
from bounded_executor._pool.stall import StallWatch
from bounded_executor._pool.stragglers import HoldUp
from bounded_executor._pool.supervisor import Supervision
from bounded_executor._pool.timeouts import Lateness
from bounded_executor._pool.workers import Roster
from bounded_executor._serialize.functions import Function
from bounded_executor._serialize.outcomes import Group

# A channel that the thread had in hand is closed when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

THREADS = ("bounded-workers", "bounded-inner")


class Injected(Exception):
    """The fault."""


class Fault:
    """Raises once in one step, where the executor's own thread takes it; others never notice.

    Args:
        owner: class that has the step.
        name: the step's.
        after: raise when it has been done, not before.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, after: bool) -> None:
        self.error = Injected(f"{owner.__name__}.{name}")
        self.raised = threading.Event()
        self._after = after
        self._left = 0
        monkeypatch.setattr(owner, name, self._wrap(getattr(owner, name)))

    def arm(self, number: int) -> None:
        """Have it happen at this call from now on, counted from 1."""
        self._left = number

    def forget(self) -> None:
        """Let go of what the error has seen, such as the channels of processes."""
        self.error.__traceback__ = None

    def _wrap(self, step: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(step):

            def several(*args: Any, **options: Any) -> Iterator[Any]:
                due = self._is_due()
                if due and not self._after:
                    self._happen()
                yield from step(*args, **options)
                if due:
                    self._happen()

            return several

        @functools.wraps(step)
        def faulty(*args: Any, **options: Any) -> Any:
            if not self._is_due():
                return step(*args, **options)
            if self._after:
                step(*args, **options)
            self._happen()

        return faulty

    def _is_due(self) -> bool:
        if not self._left or threading.current_thread().name not in THREADS:
            return False
        self._left -= 1
        return not self._left

    def _happen(self) -> None:
        self.raised.set()
        raise self.error


class Scene:
    """An executor with work in every place, and threads that bring more until it refuses.

    Args:
        ex: the executor.
        fault: what befalls it.
    """

    def __init__(self, ex: Executor, fault: Fault) -> None:
        self.ex = ex
        self.futures: list[Future[Any]] = []
        self.killers: list[Future[Any]] = []
        self.ends: list[BaseException] = []
        self._fault = fault
        self._threads: list[threading.Thread] = []

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        future = self.ex.submit(fn, *args)
        self.futures.append(future)
        return future

    def repeat(self, step: Callable[[int], object]) -> None:
        """Do something again and again in a thread of its own, until it raises."""

        def run() -> None:
            try:
                for number in itertools.count():
                    step(number)
            except BaseException as error:
                self.ends.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def submit_short(self, number: int) -> None:
        """One in a hundred is not short, so that those behind it are taken back; others fail, or are long."""
        if number % 100 == 50:
            self.submit(time.sleep, 0.02)
        else:
            self.submit(tasks.nap, {30: -1.0, 99: 0.02}.get(number % 100, 0.0), number)

    def submit_one(self, number: int) -> None:
        """There is nothing to do before the next."""
        self.submit(tasks.nap, 0.0, number).result()

    def submit_killer(self, _: int) -> None:
        future = self.ex.submit(tasks.kill_self)
        self.killers.append(future)
        # Not the next one before that: others are to be run as well.
        future.exception()

    def consume(self, fn: Callable[[Any], Any], inputs: Any, expected: Callable[[int], Any]) -> None:
        results = self.ex.map(fn, inputs)

        def step(number: int) -> None:
            assert next(results) == expected(number)

        self.repeat(step)

    def check(self, caplog: pytest.LogCaptureFixture, *, told: bool = True) -> None:
        """Nobody waits any more, and each has been told why.

        Args:
            told: the fault is an error of the thread itself, not one that it expects where it was put.
        """
        assert self._fault.raised.wait(PATIENCE), f"{self._fault.error}: this step is not taken"
        deadline = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not any(thread.is_alive() for thread in self._threads), "a caller waits"
        assert len(self.ends) == len(self._threads)
        for error in self.ends:
            self._check_error(error, RuntimeError, TerminatedWorkerError)
        # A process may have been killed before, and some tasks raise.
        tasks_own = ValueError, TerminatedWorkerError
        for future in self.futures:
            self._check_error(future.exception(max(0.0, deadline - time.monotonic())), *tasks_own)
        for future in self.killers:
            self._check_error(future.exception(max(0.0, deadline - time.monotonic())), TerminatedWorkerError)
        with pytest.raises(BrokenProcessPool) as caught:
            self.ex.submit(tasks.double, 1)
        assert caught.value.__cause__ is self._fault.error
        end = threading.Thread(target=self.ex.shutdown, daemon=True)
        end.start()
        end.join(PATIENCE)
        assert not end.is_alive(), "shutdown waits"
        stats = self.ex.stats()
        assert (stats.unfinished, stats.undelivered, stats.held_bytes, stats.children) == (0, 0, 0, 0)
        critical = [record for record in caplog.records if record.levelno >= logging.CRITICAL]
        assert [record.getMessage() for record in critical] == ["the executor's own thread failed"] * told
        self._fault.forget()
        more = [record.getMessage() for record in caplog.records if "own thread" in record.getMessage()]
        assert len(more) == told, more
        caplog.clear()

    def _check_error(self, error: BaseException | None, *others: type[BaseException]) -> None:
        if type(error) is BrokenProcessPool:
            assert error.__cause__ is self._fault.error
        else:
            assert error is None or type(error) in others, repr(error)


class Step(NamedTuple):
    """A step of the thread.

    Attributes:
        owner: class that has it.
        name: its name.
        number: the call that fails, counted from when work is in every place.
        told: it is an error of the thread itself.
        after: it is tested after the step too.
    """

    owner: type
    name: str
    number: int = 2
    told: bool = True
    after: bool = True


def steps(*chosen: Step) -> Callable[[Any], Any]:
    """Take each step in turn, with the fault before it, and after it."""
    cases = []
    for number, step in enumerate(chosen):
        # What returns nothing but new objects has nothing to lose when it has returned.
        for after in (False, True) if step.after else (False,):
            # One in six.
            marks = [] if number % 3 == 0 and after == bool(number % 2) else [pytest.mark.slow]
            name = f"{'after' if after else 'before'}-{step.owner.__name__}.{step.name}"
            cases.append(pytest.param(step, after, id=name, marks=marks))
    return pytest.mark.parametrize(("step", "after"), cases)


@pytest.fixture(autouse=True)
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG, "bounded_executor"):
        yield


def assert_no_process(keepers: set[int]) -> None:
    """Nothing of the executor's is left; those that were warm before may be."""
    # Where it had come to its end before the fault, its keeper waits for the next one.
    forkserver.close_idle()
    wait_until(lambda: not look().children and set(look().keepers) <= keepers, "all processes are gone")


# Work flows: short tasks in batches, one that is long, a map, callers that wait for a slot.


def open_flow(ex: Executor, fault: Fault, gate: Gate) -> Scene:
    scene = Scene(ex, fault)
    scene.submit(gate.hold)
    gate.wait_started(1)
    for future in [scene.submit(tasks.nap, 0.0, number) for number in range(20)]:
        future.result(PATIENCE)
    for _ in range(2):
        scene.repeat(scene.submit_short)
    scene.consume(tasks.double, itertools.count(), lambda number: 2 * number)
    return scene


FLOW = [
    Step(Dispatcher, "take", 5),
    Step(Dispatcher, "_take_joined"),
    Step(Dispatcher, "_next", 5),
    Step(Dispatcher, "_return"),
    Step(Dispatcher, "give_back"),
    Step(Arrivals, "outcome"),
    Step(Arrivals, "outcomes"),
    Step(Arrivals, "deliver", 5),
    Step(Dispatcher, "rouse", 5),
    Step(Queue, "pop", 5),
    Step(Queue, "joining"),
    Step(Queue, "put_first"),
    Step(Queue, "come_back"),
    Step(Queue, "leave"),
    Step(Queue, "rouse"),
    Step(Ledger, "finish", 5),
    Step(Roster, "give"),
    Step(Roster, "give_next"),
    Step(Roster, "take_next"),
    Step(Roster, "give_less"),
    Step(Roster, "go_on"),
    Step(Roster, "rest"),
    Step(Roster, "take_work"),
    Step(Roster, "take_idle"),
    Step(Roster, "missing", 5),
    Step(Giver, "fill", 5),
    Step(Giver, "_give"),
    Step(Giver, "_send"),
    Step(Giver, "_give_ahead"),
    Step(HoldUp, "watch", 5),
    Step(HoldUp, "_look"),
    Step(HoldUp, "_stop"),
    Step(HoldUp, "_take_back"),
    Step(HoldUp, "_take_results"),
    Step(HoldUp, "rest"),
    Step(HoldUp, "look"),
    Step(HoldUp, "next", 5),
    Step(Hearing, "take", 5),
    Step(Hearing, "_heard_of", 5),
    Step(Hearing, "_has_no_work"),
    Step(Hearing, "_goes_on"),
    Step(Lateness, "begin"),
    Step(Lateness, "rest"),
    Step(Lateness, "next", 5),
    Step(Lateness, "look"),
    Step(StallWatch, "heard"),
    Step(StallWatch, "next", 5),
    Step(Endings, "proved_useful"),
    Step(Channel, "send", 5),
    Step(Channel, "receive", 5),
    Step(Loop, "wait", 5),
    Step(Loop, "watch", 5),
    Step(Work, "message", 5),
    Step(Work, "rest"),
    Step(Work, "join"),
    Step(Work, "apart", after=False),
    Step(FutureSink, "start", 5),
    Step(FutureSink, "wait_again"),
    Step(FutureSink, "outcome"),
    Step(FutureSink, "outcomes_of"),
    Step(Calls, "outcome", after=False),
    Step(Calls, "outcomes", after=False),
    Step(MapRun, "start"),
    Step(MapRun, "outcome"),
    Step(MapRun, "outcomes"),
    Step(MapRun, "wait_again"),
    Step(Results, "put"),
    Step(Results, "ring"),
    Step(Delivery, "put"),
    Step(Delivery, "put_group"),
    Step(Workers, "_hear_child", 5),
    Step(Workers, "_take_frame", 5),
    Step(Workers, "_next_due", 5),
    Step(Workers, "_look_for_late_ones"),
]


@steps(*FLOW)
def test_while_work_flows(
    step: Step, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keepers = set(look().keepers)
    fault = Fault(monkeypatch, step.owner, step.name, after=after)
    with BoundedProcessPoolExecutor(2, queue_size=60) as ex, Gate(tmp_path) as gate:
        scene = open_flow(ex, fault, gate)
        fault.arm(step.number)
        scene.check(caplog, told=step.told)
        assert_no_process(keepers)


# Processes end: by their tasks, which are run once more after a rest; with their supervisor; because they
# have run all that they may.

ENDS = [
    Step(Workers, "_died"),
    Step(Workers, "_hear_last"),
    Step(Workers, "_forget"),
    Step(Workers, "_hear_supervisor"),
    Step(Endings, "died"),
    Step(Endings, "_blame"),
    Step(Endings, "_run_again", 1),
    Step(Endings, "forget"),
    Step(Endings, "may_start", 1, told=False),
    Step(Dispatcher, "again", 1),
    Step(Dispatcher, "fail_item", 1),
    Step(Queue, "rest", 1),
    Step(Work, "current", 1),
    Step(FutureSink, "fail", 1),
    Step(Delivery, "put_error", 1),
    Step(HoldUp, "collect"),
    Step(HoldUp, "forget"),
    Step(Lateness, "lost_touch", 1),
    Step(Lateness, "forget"),
    Step(Roster, "remove"),
    Step(Roster, "lose"),
    Step(Roster, "ready"),
    Step(Roster, "add", 1, told=False),
    Step(Starter, "start", 1, told=False),
    Step(Starter, "_start_one", 1, told=False),
    Step(Starter, "forget"),
    Step(Starter, "succeeded"),
    Step(Supervision, "start", 1, told=False),
    Step(Supervision, "fork", 1, told=False),
    Step(Loop, "add", 1, told=False),
    Step(Loop, "remove"),
    Step(Board, "take", 1, told=False),
    Step(Board, "give_back"),
]


@steps(*ENDS)
def test_while_processes_end(
    step: Step, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keepers = set(look().keepers)
    fault = Fault(monkeypatch, step.owner, step.name, after=after)
    with BoundedProcessPoolExecutor(2, queue_size=60, task_retries=1) as ex, Gate(tmp_path) as gate:
        scene = open_flow(ex, fault, gate)
        fault.arm(step.number)
        scene.repeat(scene.submit_killer)
        scene.check(caplog, told=step.told)
        assert_no_process(keepers)


# There is nothing to do most of the time.

IDLE = [
    Step(Dispatcher, "take", 5),
    Step(Roster, "put_back"),
    Step(Roster, "rest"),
    Step(Lateness, "rest"),
    Step(HoldUp, "rest"),
    Step(Loop, "wait", 5),
]


@steps(*IDLE)
def test_while_little_is_done(
    step: Step, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keepers = set(look().keepers)
    fault = Fault(monkeypatch, step.owner, step.name, after=after)
    with BoundedProcessPoolExecutor(2, queue_size=60) as ex, Gate(tmp_path) as gate:
        scene = Scene(ex, fault)
        scene.submit(gate.hold)
        gate.wait_started(1)
        scene.repeat(scene.submit_one)
        fault.arm(step.number)
        scene.check(caplog, told=step.told)
        assert_no_process(keepers)


# Heavy results, and a consumer that stalls: work is parked, and callers wait for bytes.

PARKED = [
    Step(Dispatcher, "_unpark", 1),
    Step(Queue, "first_parked", 1),
    Step(Queue, "unpark", 1),
    Step(Ledger, "reclaim", 1),
    Step(Queue, "pop", 1),
    Step(Results, "put", 1),
    Step(MapRun, "full", 1),
    Step(Ledger, "weigh", 1),
    Step(Loop, "wait", 1),
]


@steps(*PARKED)
def test_while_work_is_parked(
    step: Step, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keepers = set(look().keepers)
    fault = Fault(monkeypatch, step.owner, step.name, after=after)
    with (
        BoundedProcessPoolExecutor(2, queue_size=20, queue_bytes=300_000) as ex,
        Gate(tmp_path) as gate,
    ):
        scene = Scene(ex, fault)
        scene.submit(gate.hold)
        gate.wait_started(1)
        goes_on = threading.Event()
        results = ex.map(tasks.bytes_of, itertools.repeat(40_000))
        assert next(results) == bytes(40_000)

        def consume(_: int) -> None:
            goes_on.wait()
            assert next(results) == bytes(40_000)

        scene.repeat(consume)
        wait_until(lambda: ex._core.dispatcher.parking, "work is parked")
        scene.repeat(scene.submit_one)
        fault.arm(step.number)
        goes_on.set()
        scene.check(caplog, told=step.told)
        assert_no_process(keepers)


# The end of an executor: its supervisor is lost, all are killed, or it is shut down.


def lose_supervisor(ex: BoundedProcessPoolExecutor, _: Gate) -> None:
    (supervisor,) = {status(child.pid)[1] for child in ex._core.backend.roster if child.pid is not None}
    os.kill(supervisor, signal.SIGKILL)


def kill_all(ex: BoundedProcessPoolExecutor, _: Gate) -> None:
    ex._core.backend.kill(signal.SIGKILL)


def shut_down(ex: BoundedProcessPoolExecutor, gate: Gate) -> None:
    ex.shutdown(wait=False)
    gate.open()


class End(NamedTuple):
    """What ends the executor, and the step that fails then."""

    act: Callable[[BoundedProcessPoolExecutor, Gate], None]
    step: Step


LAST = [
    End(lose_supervisor, Step(Workers, "_lose_supervisor", 1)),
    End(lose_supervisor, Step(Endings, "supervisor_lost", 1)),
    End(lose_supervisor, Step(Endings, "_lose", 1)),
    End(lose_supervisor, Step(Supervision, "lose", 1)),
    End(lose_supervisor, Step(Session, "start_supervisor", 1, told=False)),
    End(kill_all, Step(Workers, "_kill_all", 1)),
    End(kill_all, Step(Lateness, "kill", 1)),
    End(kill_all, Step(Supervision, "kill", 1)),
    End(shut_down, Step(Giver, "retire", 1)),
    End(shut_down, Step(Roster, "retire", 1)),
    End(shut_down, Step(Roster, "unoccupied", 1)),
    End(shut_down, Step(Backend, "_is_done", 1)),
    End(shut_down, Step(Workers, "_let_go", 1)),
    End(shut_down, Step(Session, "prepare_next", 1)),
    End(shut_down, Step(Supervision, "end", 1)),
    End(shut_down, Step(Session, "end_supervisor", 1)),
    End(shut_down, Step(Session, "close", 1)),
    End(shut_down, Step(Loop, "close", 1)),
    End(shut_down, Step(Core, "_end", 1)),
    End(shut_down, Step(Delivery, "stop", 1)),
]


@pytest.mark.parametrize(
    ("end", "after"),
    [
        pytest.param(
            end,
            after,
            id=f"{'after' if after else 'before'}-{end.step.owner.__name__}.{end.step.name}",
            marks=[] if number % 3 == 0 and after == bool(number % 2) else [pytest.mark.slow],
        )
        for number, end in enumerate(LAST)
        for after in (False, True)
    ],
)
def test_while_it_ends(
    end: End, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keepers = set(look().keepers)
    fault = Fault(monkeypatch, end.step.owner, end.step.name, after=after)
    with BoundedProcessPoolExecutor(2, queue_size=60) as ex, Gate(tmp_path) as gate:
        scene = open_flow(ex, fault, gate)
        fault.arm(end.step.number)
        end.act(ex, gate)
        scene.check(caplog, told=end.step.told)
        assert_no_process(keepers)


# Over an executor that exists already.

INNER = [
    Step(Inner, "_take"),
    Step(Inner, "_take_outcomes"),
    Step(Inner, "_look"),
    Step(Inner, "_fill"),
    Step(Inner, "_hand_on", 1),
    Step(Inner, "_room"),
    Step(Inner, "_patience"),
    Step(Dispatcher, "take"),
    Step(Dispatcher, "give_back", 1),
    Step(Arrivals, "deliver"),
    Step(Queue, "leave"),
    Step(Ledger, "finish"),
    Step(Loop, "wait"),
    Step(ExecutorEngine, "submit", 2, told=False),
]


@pytest.mark.parametrize("below", [ThreadPoolExecutor, ProcessPoolExecutor])
@steps(*INNER)
def test_over_another_executor(
    step: Step,
    after: bool,
    below: Callable[[int], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fault = Fault(monkeypatch, step.owner, step.name, after=after)
    with below(2) as pool, Gate(tmp_path) as gate, BoundedExecutor(pool, queue_size=30) as ex:
        scene = open_flow(ex, fault, gate)
        fault.arm(step.number)
        scene.check(caplog, told=step.told)


# Impossible arithmetic is found where it arises, in words that name the work.


class Counts:
    """A dispatcher and work of three items that a worker has."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher(Ledger(10))
        function = Function("module.name_of_the_task")
        function.learn(0.0, 0)
        for _ in range(3):
            work = Work(function, [b""], FutureSink(BoundedFuture(), self.dispatcher.delivery), joins=True)
            self.dispatcher.ledger.acquire(lease=work)
            self.dispatcher.submit(work)
        taken = self.dispatcher.take(among=1)
        assert taken is not None
        assert taken.count == 3
        self.work = taken


def results(count: int) -> Group:
    return Group(pickle.dumps([None] * count), count, True)


def test_more_outcomes_than_items() -> None:
    counts = Counts()
    counts.dispatcher.outcomes(counts.work, results(2), None)
    with pytest.raises(RuntimeError, match=r"name_of_the_task: outcomes 2 to 3 came for a batch of 3"):
        counts.dispatcher.outcomes(counts.work, results(2), None)
    # Nothing has been counted.
    assert counts.work.done == counts.dispatcher.succeeded == 2
    assert counts.dispatcher.ledger.counts().held == 1


def test_an_outcome_that_is_not_due() -> None:
    counts = Counts()
    with pytest.raises(RuntimeError, match=r"outcome 1 of module\.name_of_the_task came when 0 was due"):
        counts.dispatcher.outcome(counts.work, 1, True, None, pickle.dumps(None))
    assert counts.dispatcher.ledger.counts().held == 3


def test_what_is_done_is_not_given_back() -> None:
    counts = Counts()
    counts.dispatcher.outcomes(counts.work, results(2), None)
    with pytest.raises(
        RuntimeError, match=r"name_of_the_task: items 1 to 1 were to run again, which are done"
    ):
        counts.dispatcher.give_back(counts.work, skip=-1)
    assert counts.dispatcher.waiting == 0


def test_more_slots_back_than_held() -> None:
    ledger = Ledger(10)
    ledger.acquire(3)
    with pytest.raises(RuntimeError, match="4 slots given back, 3 held"):
        ledger.finish(4)
    assert ledger.counts().held == 3


def test_a_lease_that_holds_more_than_is_held() -> None:
    counts = Counts()
    counts.work.held = 4, 0
    with pytest.raises(RuntimeError, match="4 slots given back, 3 held"):
        counts.dispatcher.ledger.give_up(counts.work)
    assert counts.dispatcher.ledger.counts().held == 3


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board()
    yield board
    board.close()


def test_a_worker_that_has_begun_less_than_is_done(board: Board) -> None:
    scene = HeldUp(board, (6, 1))
    work = scene.child.work
    assert work is not None
    scene.child.pid = 4711
    scene.dispatcher.outcomes(work, results(3), None)
    with pytest.raises(
        RuntimeError, match=r"0: 3 items of a batch of 6 have an outcome, and process 4711 has begun 2"
    ):
        scene.hold_up._take_back(scene.child, work, 2)
    assert scene.dispatcher.waiting == 0
    assert work.count == 6
    scene.close()


def test_a_worker_that_refuses_an_item_which_is_not_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a real executor: the frame is the worker's, with another number."""
    take = Hearing.take

    def take_wrong(self: Hearing, child: Any, frame: Frame) -> None:
        if frame.kind == Kind.TOGETHER:
            frame = Frame(Kind.STOPPED, frame.ident, frame.index + 1, 1, 0.0, b"")
        take(self, child, frame)

    monkeypatch.setattr(Hearing, "take", take_wrong)
    with BoundedProcessPoolExecutor(1) as ex:
        futures = list(ex.map(tasks.double, [1], chunksize=1))
        assert futures == [2]
        results = ex.map(tasks.double, range(64), chunksize=64)
        with pytest.raises(
            BrokenProcessPool,
            match=r"tasks\.double: process \d+ has refused item 1 of a batch of 64, and 0 have an outcome",
        ):
            next(results)


# The thread that resolves futures.


def test_a_fault_of_the_thread_that_resolves_futures_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    delivered = Ledger.delivered
    faults: list[int] = []

    def fail_once(self: Ledger, count: int = 1) -> None:
        delivered(self, count)
        if not faults:
            faults.append(count)
            raise Injected("delivered")

    monkeypatch.setattr(Ledger, "delivered", fail_once)
    with BoundedProcessPoolExecutor(1) as ex:
        assert [ex.submit(tasks.double, number).result(PATIENCE) for number in range(9)] == [*range(0, 18, 2)]
    assert faults
    critical = [record for record in caplog.records if record.levelno >= logging.CRITICAL]
    assert [record.getMessage() for record in critical] == ["the thread that resolves futures failed"]
    assert ex.stats().undelivered == 0

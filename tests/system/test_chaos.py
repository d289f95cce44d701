"""Any sequence of calls and killed processes: every accepted task comes to one right end."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import faults
import pytest
import tasks
import tree
from helpers import PATIENCE, SPAWNED, assert_all_free, wait_until
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, QueueFull, TerminatedWorkerError

RETRIES = 10
# So many processes that end one after the other before any is ready break an executor.
STILLBORN = 3

ROLES = ("children", "children", "supervisors", "keepers")
counts = st.integers(1, 25)
seconds = st.sampled_from([0.0, 0.0, 0.002, 0.02])
EVENTS = st.one_of(
    st.tuples(st.just("submit"), counts, seconds),
    st.tuples(st.just("nowait"), counts, seconds),
    st.tuples(st.just("map"), counts, st.sampled_from([None, 1, 6]), st.booleans()),
    st.tuples(st.just("producers"), st.integers(1, 4), st.integers(1, 10)),
    st.tuples(st.just("cancel"), st.integers(0, 1_000)),
    st.tuples(st.just("pause"), st.sampled_from([0.001, 0.01, 0.03])),
    st.tuples(st.just("kill"), st.just("children"), st.booleans(), st.booleans()),
    st.tuples(st.just("kill"), st.sampled_from(ROLES), st.booleans(), st.booleans()),
    st.tuples(st.just("kill"), st.sampled_from(ROLES), st.booleans(), st.booleans()),
)
ENDS = ("free", "block", "cancel", "kill")


class Chaos:
    """One executor, what was asked of it, and what became of that."""

    def __init__(self, folder: Path, seed: int, workers: int, limit: int | None) -> None:
        self.log = str(folder / "runs")
        self.draw = random.Random(seed)
        self.workers = workers
        self.ex = BoundedProcessPoolExecutor(
            workers, max_tasks_per_child=limit, queue_size=20, idle_timeout=0, task_retries=RETRIES
        )
        self.numbers = iter(range(10**9))
        self.futures: list[tuple[int, str, Future[Any]]] = []
        self.maps: list[tuple[list[int], bool, list[int], list[BaseException]]] = []
        self.begun: list[threading.Event] = []
        self.threads: list[threading.Thread] = []
        self.refusals: list[BaseException] = []
        self.kills: Counter[str] = Counter()
        self.risk = self.most_risk = 0
        self.ended = False

    # Events.

    def submit(self, count: int, length: float) -> None:
        for _ in range(count):
            self._submit(self.ex.submit, length)

    def nowait(self, count: int, length: float) -> None:
        for _ in range(count):
            try:
                self._submit(self.ex.submit_nowait, length)
            except QueueFull:
                return

    def _submit(self, method: Callable[..., Future[Any]], length: float) -> Future[Any]:
        number = next(self.numbers)
        kind = faults.RAISE if number % 7 == 3 else ""
        future = method(faults.work, self.log, number, length, kind)
        self.futures.append((number, kind, future))
        return future

    def map(self, count: int, chunksize: int | None, unordered: bool) -> None:
        inputs = [next(self.numbers) for _ in range(count)]
        got: list[int] = []
        errors: list[BaseException] = []
        begun = threading.Event()

        def consume() -> None:
            try:
                for number, _ in self.ex.map(
                    faults.work, [self.log] * count, inputs, chunksize=chunksize, unordered=unordered
                ):
                    got.append(number)
                    begun.set()
            except BaseException as error:
                errors.append(error)
            finally:
                begun.set()

        self.maps.append((inputs, unordered, got, errors))
        self.begun.append(begun)
        self._start(consume)

    def producers(self, threads: int, count: int) -> None:
        for _ in range(threads):
            self._start(self._produce, count)

    def _produce(self, count: int) -> None:
        try:
            self.submit(count, 0.0)
        except BaseException as error:
            self.refusals.append(error)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args)
        self.threads.append(thread)
        thread.start()

    def cancel(self, which: int) -> None:
        if self.futures:
            self.futures[which % len(self.futures)][2].cancel()

    def pause(self, length: float) -> None:
        time.sleep(length)

    def kill(self, role: str, stop_first: bool, settle: bool) -> None:
        victim = tree.pick(self.draw, role)
        if victim is None or not tree.kill(victim, stop_first=stop_first):
            return
        self.kills[role] += 1
        self.risk += 1
        self.most_risk = max(self.most_risk, self.risk)
        if settle:
            before = set(tree.look().children)
            # A process that was not there yet has become ready since.
            probe = self._submit(self.ex.submit, 0.0)
            if probe.exception(PATIENCE) is None and probe.result()[1] not in before:
                self.risk = 0

    # The end.

    def end(self, how: str) -> None:
        if how == "free":
            for thread in self.threads:
                thread.join(PATIENCE)
            wait_until(lambda: all(future.done() for _, _, future in self.futures), "all futures done")
            if not self.broken():
                assert_all_free(self.ex)
        for begun in self.begun:
            # What a shutdown does to a map that nobody has begun is another test's matter.
            assert begun.wait(PATIENCE)
        if how == "kill":
            self.ex.kill_workers()
        self.ex.shutdown(wait=True, cancel_futures=how == "cancel")
        self.ended = True

    def broken(self) -> bool:
        try:
            self.ex.submit_nowait(int)
        except BrokenProcessPool:
            assert self.most_risk >= STILLBORN, "broken without a reason"
            return True
        except (QueueFull, RuntimeError):
            pass
        return False

    def check(self, how: str) -> None:
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        broken = self.broken()
        lost: tuple[type[BaseException], ...] = (BrokenProcessPool,) if broken else ()
        if how in ("cancel", "kill"):
            lost += (TerminatedWorkerError,)
        runs = Counter(map(int, tasks.notes(self.log)))
        for number, kind, future in self.futures:
            assert future.done()
            if future.cancelled():
                assert runs[number] == 0
                continue
            error = future.exception()
            if error is None:
                assert future.result()[0] == number
                assert not kind
            else:
                assert isinstance(error, lost) or type(error) is faults.Fault, repr(error)
                assert type(error) is not faults.Fault or kind
        for inputs, unordered, got, errors in self.maps:
            self._check_map(inputs, unordered, got, errors, lost)
        for refusal in self.refusals:
            assert isinstance(refusal, lost) or type(refusal) is RuntimeError, repr(refusal)
        self._check_runs(runs)
        stats = self.ex.stats()
        assert stats.unfinished == stats.waiting == stats.children == 0
        assert stats.submitted == stats.succeeded + stats.failed + stats.cancelled
        wait_until(lambda: not any(tree.look()), "the end of all processes", 5.0)

    def _check_map(
        self,
        inputs: list[int],
        unordered: bool,
        got: list[int],
        errors: list[BaseException],
        lost: tuple[type[BaseException], ...],
    ) -> None:
        if unordered:
            assert len(got) == len(set(got))
            assert set(got) <= set(inputs)
        else:
            assert got == inputs[: len(got)]
        if errors:
            # The executor has ended before all of it was submitted.
            (error,) = errors
            assert isinstance(error, (*lost, CancelledError)) or type(error) is RuntimeError, repr(error)
        else:
            assert len(got) == len(inputs)

    def _check_runs(self, runs: Counter[int]) -> None:
        assert max(runs.values(), default=0) <= 1 + RETRIES
        again = sum(runs.values()) - len(runs)
        # A process runs one task at a time; with a supervisor all its processes go.
        above = self.kills["supervisors"] + self.kills["keepers"]
        assert again <= self.kills["children"] + self.workers * above


def run(events: list[tuple[Any, ...]], seed: int, workers: int, limit: int | None, how: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), seed, workers, limit)
        try:
            for name, *arguments in events:
                try:
                    getattr(chaos, name)(*arguments)
                except BrokenProcessPool:
                    assert chaos.broken()
            chaos.end(how)
            chaos.check(how)
        finally:
            if not chaos.ended:
                chaos.ex.kill_workers()
                chaos.ex.shutdown()


def profile(examples: int, events: int, *, fixed: bool) -> Callable[[Any], Any]:
    def decorate(test: Any) -> Any:
        drawn = given(
            events=st.lists(EVENTS, min_size=15, max_size=events),
            seed=st.integers(0, 2**32),
            workers=st.integers(1, 3),
            limit=st.sampled_from([None, 1, 5]),
            how=st.sampled_from(ENDS),
        )(test)
        return settings(
            max_examples=examples,
            deadline=None,
            derandomize=fixed,
            database=None,
            print_blob=True,
            # What real processes do is not the same twice, so nothing smaller would fail for the same reason.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(drawn)

    return decorate


# Where each process takes long to start, fewer of the same.
@profile(3 if SPAWNED else 10, 40, fixed=True)
def test_chaos(events: Any, seed: int, workers: int, limit: int | None, how: str) -> None:
    run(events, seed, workers, limit, how)


@pytest.mark.slow
@profile(200, 120, fixed=False)
def test_long_chaos(events: Any, seed: int, workers: int, limit: int | None, how: str) -> None:
    run(events, seed, workers, limit, how)

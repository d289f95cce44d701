"""The slots alone: threads, no processes."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers import PATIENCE, wait_until

from bounded_executor import QueueFull, SubmitTimeout
from bounded_executor._core.semaphore import Lease, Ledger


class Closed(Exception):
    pass


def waiting(ledger: Ledger) -> int:
    """How many callers wait, as the message of a refused one says."""
    try:
        ledger.acquire(block=False)
    except QueueFull as error:
        return int(str(error).rpartition(", ")[2].split()[0])
    raise AssertionError("a slot was free")


class Caller(threading.Thread):
    """A thread that does one thing; ``join`` returns what came of it."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._act()
        except BaseException as error:
            self._outcome = error

    def outcome(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive(), "the caller still waits"
        return self._outcome


@pytest.fixture
def full() -> Ledger:
    """A ledger of two slots, both held."""
    ledger = Ledger(2)
    assert ledger.acquire(2) == 2
    return ledger


def test_grants_up_to_its_size_and_no_more() -> None:
    ledger = Ledger(3)
    assert [ledger.acquire(block=False) for _ in range(3)] == [1, 1, 1]
    with pytest.raises(QueueFull, match=r"3 of queue_size=3 tasks are unfinished"):
        ledger.acquire(block=False)
    assert ledger.counts().held == 3
    ledger.finish()
    assert ledger.acquire(block=False) == 1


def test_grants_as_many_as_are_free_of_those_wanted() -> None:
    ledger = Ledger(5)
    assert ledger.acquire(3) == 3
    assert ledger.acquire(9) == 2
    ledger.finish(4)
    assert ledger.acquire(4) == 4
    assert ledger.counts().held == 5


def test_free_says_what_a_newcomer_would_get(full: Ledger) -> None:
    assert full.free() == 0
    full.finish()
    assert full.free() == 1
    full.finish(to_deliver=True)
    assert full.free() == 2


def test_giving_back_more_than_is_held_is_an_error() -> None:
    ledger = Ledger(2)
    ledger.acquire()
    with pytest.raises(RuntimeError, match="2 slots given back, 1 held"):
        ledger.finish(2)
    assert ledger.counts().held == 1


def test_delivering_more_than_arrived_is_an_error(full: Ledger) -> None:
    full.finish(to_deliver=True)
    full.delivered()
    with pytest.raises(RuntimeError, match="twice"):
        full.delivered()


def test_waiters_are_served_in_their_order(full: Ledger) -> None:
    served: list[int] = []
    callers = []
    for number in range(5):
        callers.append(Caller(lambda number=number: full.acquire() and served.append(number)))
        wait_until(lambda number=number: waiting(full) == number + 1)
    for number in range(5):
        full.finish()
        callers[number].outcome()
        assert served == list(range(number + 1))


def test_a_newcomer_does_not_overtake_a_waiter(full: Ledger) -> None:
    caller = Caller(full.acquire)
    wait_until(lambda: waiting(full) == 1)
    full.finish()
    # The slot belongs to the waiter from this moment on, whether or not it has woken up.
    with pytest.raises(QueueFull):
        full.acquire(block=False)
    assert caller.outcome() == 1


def test_a_waiter_that_wants_several_is_content_with_what_is_free(full: Ledger) -> None:
    caller = Caller(lambda: full.acquire(7))
    wait_until(lambda: waiting(full) == 1)
    full.finish()
    assert caller.outcome() == 1
    assert full.counts().held == 2


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_a_wait_that_times_out_loses_nothing(full: Ledger, timeout: float) -> None:
    with pytest.raises(SubmitTimeout, match=rf"submit_timeout={timeout} .*queue_size=2") as caught:
        full.acquire(timeout=timeout)
    assert isinstance(caught.value, TimeoutError)
    assert waiting(full) == 0
    full.finish()
    assert full.acquire(block=False) == 1


def test_one_that_times_out_lets_those_behind_it_through(full: Ledger) -> None:
    first = Caller(lambda: full.acquire(timeout=0.05))
    second = Caller(full.acquire)
    assert isinstance(first.outcome(), SubmitTimeout)
    full.finish(2)
    assert second.outcome() == 1


def test_an_interrupted_wait_loses_nothing(full: Ledger) -> None:
    class Interrupt(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        helper = Caller(
            lambda: (
                wait_until(lambda: waiting(full) == 1),
                signal.pthread_kill(main, signal.SIGUSR1),
            )
        )
        with pytest.raises(Interrupt):
            full.acquire(timeout=PATIENCE)
        helper.outcome()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert waiting(full) == 0
    full.finish()
    assert full.acquire(block=False) == 1


def test_closing_wakes_every_waiter_with_an_error_of_its_own(full: Ledger) -> None:
    callers = [Caller(full.acquire) for _ in range(4)]
    wait_until(lambda: waiting(full) == 4)
    full.close(Closed)
    errors = [caller.outcome() for caller in callers]
    assert [type(error) for error in errors] == [Closed] * 4
    assert len({id(error) for error in errors}) == 4
    for options in ({}, {"block": False}, {"force": True}, {"timeout": 0}):
        with pytest.raises(Closed):
            full.acquire(**options)
    assert full.counts().held == 2


def test_a_closed_ledger_still_serves_its_owner() -> None:
    ledger = Ledger(1)
    ledger.close(Closed)
    assert ledger.acquire(after_close=True) == 1
    caller = Caller(lambda: ledger.acquire(after_close=True))
    wait_until(lambda: "1 callers" in _refusal(ledger))
    ledger.finish()
    assert caller.outcome() == 1


def _refusal(ledger: Ledger) -> str:
    with pytest.raises(QueueFull) as caught:
        ledger.acquire(block=False, after_close=True)
    return str(caught.value)


def test_force_is_granted_at_once_and_counted(full: Ledger) -> None:
    assert full.acquire(force=True) == 1
    assert full.counts().held == 3
    assert full.counts().above_bound == 1
    full.finish(2)
    assert full.acquire(force=True) == 1
    assert full.counts().above_bound == 1, "a free slot is not above the bound"


def test_what_is_above_the_bound_delays_the_next_ones(full: Ledger) -> None:
    full.acquire(force=True)
    full.finish()
    with pytest.raises(QueueFull):
        full.acquire(block=False)
    full.finish()
    assert full.acquire(block=False) == 1


def test_a_backlog_of_callbacks_refuses_those_who_do_not_wait(full: Ledger) -> None:
    full.finish(2, to_deliver=True)
    with pytest.raises(QueueFull, match="2 outcomes wait for their callbacks"):
        full.acquire(block=False)
    full.delivered()
    assert full.acquire(block=False) == 1


def test_a_backlog_of_callbacks_holds_back_until_one_completes(full: Ledger) -> None:
    full.finish(2, to_deliver=True)
    full.delivered()
    assert full.acquire() == 1
    assert full.counts().above_bound == 0


def test_a_stuck_callback_cannot_hold_a_caller_for_ever(full: Ledger) -> None:
    full.finish(2, to_deliver=True)
    assert full.acquire() == 1
    assert full.counts().above_bound == 1
    assert full.counts().wait_seconds > 0


def test_a_stuck_callback_cannot_hold_a_crowd_for_ever(full: Ledger) -> None:
    callers = [Caller(full.acquire) for _ in range(2)]
    wait_until(lambda: waiting(full) == 2)
    full.finish(2, to_deliver=True)
    assert [caller.outcome() for caller in callers] == [1, 1]
    assert full.counts().held == 2


@pytest.mark.parametrize("size", [1, 3, 10])
def test_many_threads_never_exceed_the_bound_and_lose_nothing(size: int) -> None:
    ledger = Ledger(size)

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(150):
            try:
                count = ledger.acquire(
                    chance.randint(1, 3),
                    block=chance.random() < 0.9,
                    timeout=chance.choice([None, None, 0, 0.001]),
                )
            except (QueueFull, SubmitTimeout):
                continue
            assert ledger.counts().held <= size
            ledger.finish(count)

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(work, range(12)))
    assert ledger.counts().held == 0
    assert ledger.counts().above_bound == 0
    assert ledger.acquire(size, block=False) == size


class Collecting(list[int]):
    """Sizes whose sum makes the collector run, which closes a coroutine that was granted a slot."""

    def __init__(self, sizes: list[int], collect: Callable[[], None]) -> None:
        super().__init__(sizes)
        self._collect = collect

    def __iter__(self) -> Iterator[int]:
        collect, self._collect = self._collect, lambda: None
        collect()
        return super().__iter__()


@pytest.mark.parametrize("waits", [False, True])
def test_what_the_collector_gives_up_in_the_middle_of_a_grant_is_free(waits: bool) -> None:
    ledger = Ledger(3, queue_bytes=100)
    others = [Lease() for _ in range(3)]
    for other in others:
        ledger.acquire(lease=other, sizes=(1,))
    lease = Lease()
    sizes = Collecting([2, 2], lambda: ledger.give_up(others[1]))
    if waits:
        ledger.line_up(lease, sizes, None, lambda: None)
        ledger.give_up(others[0])
    else:
        ledger.give_up(others[0])
        assert ledger.acquire(lease=lease, sizes=sizes)
    ledger.give_up(others[2])
    assert lease.held is not None
    assert (ledger.counts().held, ledger.counts().weight) == lease.held
    ledger.give_up(lease)
    assert (ledger.counts().held, ledger.counts().weight) == (0, 0)


def test_a_grant_that_is_never_taken_is_free_once_its_waiter_is_gone() -> None:
    ledger = Ledger(1)
    ledger.acquire()
    gone: list[bool] = []
    lost, taken = Lease(), Lease()
    ledger.line_up(lost, (0,), None, lambda: True, gone=lambda: bool(gone))
    ledger.finish()
    assert lost.held == (1, 0)
    with pytest.raises(QueueFull):
        ledger.acquire(block=False)
    gone.append(True)
    assert ledger.acquire(lease=taken, block=False) == 1
    assert ledger.counts().held == 1
    # One that has given up itself is not looked at any more.
    ledger.give_up(taken)
    assert ledger.counts().held == 0
    assert not ledger._untaken

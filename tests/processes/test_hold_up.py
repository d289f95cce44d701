"""What the parent takes back from a child, at moments that a real child passes in a microsecond."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest
from test_state_machine import FakeDelivery

from bounded_executor._core.dispatcher import Dispatcher
from bounded_executor._core.semaphore import Ledger
from bounded_executor._core.work import FutureSink, Work
from bounded_executor._future import BoundedFuture
from bounded_executor._ipc.frames import Channel
from bounded_executor._ipc.scoreboard import BEGUN, HALF, KEPT, Board, Place
from bounded_executor._pool.stragglers import BEGIN_SECONDS, HoldUp
from bounded_executor._pool.workers import Child, Roster
from bounded_executor._serialize.functions import Function
from bounded_executor._serialize.outcomes import SIZE


class Scene:
    """A child that has two pieces of work, and does with the board what the test says."""

    def __init__(self, board: Board, counts: tuple[int, int]) -> None:
        self.dispatcher = Dispatcher(Ledger(100), FakeDelivery())  # type: ignore[arg-type]
        self.roster = Roster(1, None, 0)
        self.hold_up = HoldUp(self.dispatcher, self.roster, lambda child: None)
        self.hold_up.board = board
        self.ours, theirs = socket.socketpair()
        self.child: Child = self.roster.add(Channel(theirs))
        self.child.place = board.take()
        self.place = Place(board._memory, self.child.place)
        first, second = (self._take(Function(str(number)), count) for number, count in enumerate(counts))
        now = time.monotonic()
        self.roster.give(self.child, first, now)
        self.roster.give_next(self.child, second)
        self.hold_up.watch(self.child, now)

    def _take(self, function: Function, count: int) -> Work:
        """Have as many calls taken from the queue as one piece."""
        function.learn(0.0, 0)
        for _ in range(count):
            sink = FutureSink(BoundedFuture(), self.dispatcher.delivery)
            work = Work(function, [b""], sink, joins=True)
            self.dispatcher.ledger.acquire(lease=work)
            self.dispatcher.submit(work)
        taken = self.dispatcher.take(among=1)
        assert taken is not None
        assert taken.count == count
        return taken

    def begin(self, turn: int, index: int) -> None:
        if not index:
            self.place.begin(turn)
        self.place.words[BEGUN] = turn << HALF | index + 1

    def keep(self, count: int) -> None:
        """Keep results, as the child does before it sends them."""
        for number in range(count):
            SIZE.pack_into(self.place.results, number * SIZE.size, 0)
        self.place.words[KEPT] = 0 << HALF | count * SIZE.size

    def look(self) -> None:
        """Do what is due, when it is."""
        due = self.hold_up.next()
        assert due is not None
        time.sleep(max(0.0, due - time.monotonic()))
        self.hold_up.look()

    def look_on(self) -> None:
        """Do what is due until nothing is."""
        while self.hold_up.next() is not None:
            self.look()

    def close(self) -> None:
        self.ours.close()
        self.child.channel.close()


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board()
    yield board
    board.close()


def test_what_is_finished_is_taken_over_and_the_rest_taken_back(board: Board) -> None:
    scene = Scene(board, (6, 2))
    scene.begin(1, 0)
    scene.begin(1, 3)
    scene.keep(3)
    scene.look_on()
    assert scene.dispatcher.succeeded == 3
    # Two of the first piece and two of the second; the fourth is being run.
    assert scene.dispatcher.waiting == 4
    assert scene.child.work is not None
    assert scene.child.work.count == 4
    assert scene.child.next is None
    scene.close()


def test_what_was_sent_and_not_read_is_no_result_that_is_kept(board: Board) -> None:
    scene = Scene(board, (6, 2))
    scene.begin(1, 0)
    scene.begin(1, 3)
    scene.place.words[KEPT] = 3 << HALF
    scene.look_on()
    assert scene.dispatcher.succeeded == 0
    assert scene.dispatcher.waiting == 4
    scene.close()


def test_nothing_is_taken_back_of_what_is_done_and_on_its_way(board: Board) -> None:
    """The child has sent it, and has come to its next work, before the parent has read any of it."""
    scene = Scene(board, (6, 2))
    scene.begin(1, 0)
    scene.begin(1, 3)
    scene.keep(3)
    scene.look()
    scene.begin(2, 0)
    scene.look()
    assert scene.dispatcher.waiting == 0
    assert scene.child.next is not None
    scene.close()


def test_a_child_that_does_not_run_keeps_its_first_task(board: Board) -> None:
    """It may not be running at all; it is given time for that."""
    scene = Scene(board, (6, 2))
    scene.look()
    assert scene.dispatcher.waiting == 0
    scene.child.since -= BEGIN_SECONDS
    scene.look_on()
    assert scene.child.work is not None
    assert scene.child.work.count == 1
    assert scene.dispatcher.waiting == 7
    scene.close()


class Watched:
    """The words of a place; between two writes to it the parent reads them."""

    def __init__(self, words: memoryview, read: Callable[[], None]) -> None:
        self._words = words
        self._read = read

    def __getitem__(self, number: int) -> int:
        return int(self._words[number])

    def __setitem__(self, number: int, value: int) -> None:
        self._words[number] = value
        self._read()


def test_no_moment_shows_the_item_of_one_turn_as_that_of_another(board: Board) -> None:
    """The worker goes from an item of its first turn to the second turn."""
    number = board.take()
    assert number is not None
    place = Place(board._memory, number)
    place.begin(1)
    place.words[BEGUN] = 1 << HALF | 5
    seen: list[tuple[int | None, int | None]] = []

    def read() -> None:
        words = board.words(number)
        seen.append((words.begun_in(1), words.begun_in(2)))

    place.words = Watched(place.words, read)  # type: ignore[assignment]
    place.begin(2)
    assert seen == [(5, 0), (None, 0)]
    place.words = place.words._words  # type: ignore[attr-defined]


@pytest.mark.parametrize("turn", [1, 2**32 - 1, 2**32, 2**40])
def test_turns_are_told_apart_when_their_numbers_begin_anew(board: Board, turn: int) -> None:
    number = board.take()
    assert number is not None
    place = Place(board._memory, number)
    place.words[BEGUN] = place.begin(turn) + 3
    words = board.words(number)
    assert [words.begun_in(turn + ahead) for ahead in (-1, 0, 1)] == [None, 3, 0]

"""A model of the protocol between a worker and the parent (``_ipc.scoreboard``), with all interleavings run.

Two small programs take steps in any order. The parent's follows ``HoldUp`` and ``Hearing``, the worker's
follows ``_Runner._work`` and ``Outbox``::

        worker                         board, sockets                parent
        ------                         --------------                ------
        come to a turn        -------> KEPT, BEGUN ------->          look, settle, look,
        note, then read STOP  <------- STOP <--------------          copy, settle, confirm
        refuse, or run                                               take results, take back
        keep the result       -------> results, KEPT ----->          collect, and blame, after a death
        flush, send           -------> frames in order --->          receive
                              <------- work in order <-----          give, give ahead
        die, anywhere

Memory is as weak as it can be. What one side writes to a word the other may see at once, or later, or when
other words that were written afterwards have long been seen. Only the values of one word are seen in their
order. Two things are certain. A process that receives a frame sees what the worker wrote before it sent that
(see ``sockets_order``). And what was written before a *period* began is visible when it ends; a wait of
``SETTLE_SECONDS`` is two periods (see `PERIODS`). So the model has no step in which a write becomes visible:
a word is the list of values that the other side may still find in it, and a reader takes any of them.

A process may stand still between any two of its steps: all others are tried meanwhile. Reads that directly
follow each other are one step, which loses nothing: a later read may still find an older value.

Every state is checked against the five properties of `PROPERTIES`. Each way to weaken the protocol, a field
of `Protocol`, is shown to break one.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import product
from time import perf_counter
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from bounded_executor._ipc.scoreboard import (
    BEGUN,
    HALF,
    INTEGER_BYTES,
    INTEGERS,
    KEPT,
    PLACE_BYTES,
    STOP,
    Board,
    May,
    Place,
    Words,
)
from bounded_executor._pool.stragglers import HoldUp
from bounded_executor._pool.workers import Child
from bounded_executor._worker.result_buffer import Outbox

PROPERTIES = {
    1: "no item runs in the worker and is taken back as well",
    2: "an item that is blamed for a death had begun",
    3: "each item has one outcome, its own; or was taken back; or is blamed. No result is lost",
    4: "no count is ever negative, or more than there are",
    5: "of a turn that was the worker's present one when it was stopped, at least one item stays with it",
}

# A write is visible within a microsecond, and a wait takes two thousand. The protocol needs two of them. In
# the first, STOP reaches the worker. In the second, the note of an item becomes visible that the worker began
# just before.
PERIODS = 2

# Words behind the three of the board: INDEX of the former protocol, where BEGUN is TURN; then the results.
INDEX = 3
RESULTS = 4

# Where the parent is.
READY, STOPPING, SETTLING, LOOKING = "ready", "stopping", "settling", "looking"


class Protocol(NamedTuple):
    """The protocol as it is; each field is a way to weaken it."""

    one_word: bool = True  # turn and index are written and read at once
    turn_first: bool = True  # of two words, TURN is written before INDEX is zeroed
    notes_first: bool = True  # BEGUN is written before STOP is read
    withdraws: bool = True  # the note of a refused item is withdrawn before STOPPED is sent
    sends_first: bool = True  # what is kept is sent before KEPT says so
    looks_again: bool = True  # what was read before STOP was written counts for nothing
    periods: int = PERIODS  # of visibility, in one wait
    confirms: bool = True  # copied results are used after a third look only
    receives: bool = True  # frames sent before a copy are taken before it is used
    first_runs: bool = True  # STOP lets the first item run where none was begun
    noted_may_run: bool = True  # and where only the first is noted, which may not have read STOP yet
    refuses_older: bool = True  # STOP holds for turns before the one that the parent takes for the present
    kept_names_turn: bool = True  # where results are kept, KEPT of one turn never equals that of another
    sockets_order: bool = True  # who receives a frame sees what was written before it was sent


class Scene(NamedTuple):
    """What the worker is given.

    Attributes:
        counts: items of each turn.
        joins: the parent takes back items of the present turn too, and not only the turn behind it.
        ways: what the worker may do with a result: keep it, keep it and flush then, send it.
    """

    counts: tuple[int, ...]
    joins: bool = True
    ways: str = "kfs"

    def item(self, turn: int, index: int) -> int:
        """Return the number of an item among all, from 1; its result is the same number."""
        return sum(self.counts[: turn - 1]) + index + 1


class State(NamedTuple):
    """All that there is; sets of items are bit masks.

    Attributes:
        words: for each, the values that the other side may find, oldest first.
        marks: for each, which of its values was the last when the present period began.
        sent_at: the same for when the last frame was sent.
        frames: on their way to the parent: kind, turn, index, results.
        inbox: turns on their way to the worker.
        at: the worker's next step; `then` is the one after a flush.
        first: the index of the first result that the worker keeps, and `kept` their number.
        work: the turn that the parent takes for the present one, of `count` items, `done` with an outcome.
        next: the turn that was given ahead.
        given: turns given so far.
        stopped: the last turn that STOP was written for, and `present` the present one then.
        phase: the parent's, with `left` periods to wait.
        seen: what the last look has found in the words that count.
        copy: the results that were copied: the words then, index of the first result, values.
        ran: items that the worker has begun to run.
        outcomes, back, blamed: by the parent.
    """

    words: tuple[tuple[int, ...], ...]
    marks: tuple[int, ...] = ()
    sent_at: tuple[int, ...] = ()
    frames: tuple[tuple[str, int, int, tuple[int, ...]], ...] = ()
    inbox: tuple[int, ...] = ()
    at: str = "wait"
    then: str = ""
    turn: int = 0
    index: int = 0
    first: int = 0
    kept: int = 0
    work: int = 0
    done: int = 0
    count: int = 0
    next: int = 0
    given: int = 0
    stopped: int = 0
    present: int = 0
    phase: str = READY
    left: int = 0
    seen: tuple[int, ...] = ()
    copy: tuple[Words, int, tuple[int, ...]] | None = None
    ran: int = 0
    outcomes: int = 0
    back: int = 0
    blamed: int = 0


Label = tuple[object, ...]
Steps = Iterator[tuple[Label, Callable[[], State]]]
Came = dict[State, tuple[State, Label] | None]


class Violation(Exception):
    """A property does not hold."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{PROPERTIES[number]}: {text}")
        self.number = number


# The package itself, on words that are plain numbers


class _Numbers(list[int]):
    """Words that note what is written to them."""

    def __init__(self) -> None:
        super().__init__([0, 0, 0])
        self.written: list[tuple[int, int]] = []

    def __setitem__(self, word: int, value: int) -> None:  # type: ignore[override]
        super().__setitem__(word, value)
        self.written.append((word, value))


def own_place() -> tuple[Place, _Numbers]:
    place = Place(None, None)
    numbers = _Numbers()
    place.words = numbers  # type: ignore[assignment]
    return place, numbers


@lru_cache(None)
def coming(turn: int) -> tuple[tuple[int, int], ...]:
    """Return what a worker writes when it comes to a turn."""
    place, numbers = own_place()
    place.begin(turn)
    return tuple(numbers.written)


@lru_cache(None)
def refuses(stop: int, turn: int, index: int) -> bool:
    place, numbers = own_place()
    numbers[STOP] = stop
    return place.refuses(turn, index)


@lru_cache(None)
def stop_word(p: Protocol, words: Words, present: int, last: int, joins: bool) -> int:
    """Return STOP as ``HoldUp`` writes it to a worker in the turn ``present``, having read these words."""
    board = object.__new__(Board)
    board._words = numbers = _Numbers()  # type: ignore[assignment]
    numbers[BEGUN], numbers[KEPT] = words
    if joins and not (p.first_runs and p.noted_may_run):
        begun = words.begun_in(present)
        first = p.first_runs and begun == 0
        board.stop(0, present, last, May.FIRST if first else May.NOTHING)
    else:
        hold_up = HoldUp(None, None, None)  # type: ignore[arg-type]
        hold_up.board = board
        child = Child(0, None, None)  # type: ignore[arg-type]
        child.place, child.work_turn, child.turn = 0, present, last
        hold_up._stop(child, SimpleNamespace(joins=joins))  # type: ignore[arg-type]
    return numbers[STOP]


@lru_cache(None)
def kept_word(p: Protocol, turn: int, first: int, count: int) -> int:
    """Return KEPT as a worker writes it."""
    if not p.kept_names_turn:
        return first << HALF | (INTEGERS | count * INTEGER_BYTES if count else 0)
    place, numbers = own_place()
    place.begin(turn)
    outbox = Outbox(place, lambda *frame: None)
    # So that it is never time to flush.
    now = perf_counter() + 1e6
    outbox.begin(0, now)
    outbox.skip(first - 1, now)
    for _ in range(count):
        outbox.add(0)
    if not count and first:
        # What stands there after a flush of one.
        outbox.begin(0, now)
        outbox.skip(first - 2, now)
        outbox.add(0)
        outbox.flush(now)
    return numbers[KEPT]


@lru_cache(None)
def kept_in(word: int) -> tuple[int, int]:
    """Return the index of the first result that is kept, and their number, as ``Board.kept`` does."""
    board = object.__new__(Board)
    board._words = numbers = _Numbers()  # type: ignore[assignment]
    numbers[KEPT] = word
    board._memory = bytes(PLACE_BYTES)  # type: ignore[assignment]
    first, results = board.kept(0)
    return first, len(results)


# Memory


def issue(s: State, word: int, value: int) -> State:
    """Write a word."""
    values = s.words[word]
    if values[-1] == value:
        return s
    return s._replace(words=(*s.words[:word], (*values, value), *s.words[word + 1 :]))


def find(s: State, *words: int) -> Iterator[tuple[State, tuple[int, ...]]]:
    """Read words: each way in which what was written may be visible by now."""
    for choice in product(*(range(len(s.words[word])) for word in words)):
        numbers = [0] * len(s.words)
        for word, number in zip(words, choice, strict=True):
            numbers[word] = number
        found = see(s, numbers) if any(choice) else s
        yield found, tuple(found.words[word][0] for word in words)


def see(s: State, numbers: Iterable[int]) -> State:
    """Forget values of each word, as many as told: what was seen once stays."""
    return s._replace(
        words=tuple(values[number:] for values, number in zip(s.words, numbers, strict=True)),
        marks=tuple(max(0, at - number) for at, number in zip(s.marks, numbers)),  # noqa: B905
        sent_at=tuple(max(0, at - number) for at, number in zip(s.sent_at, numbers)),  # noqa: B905
    )


def lasts(s: State) -> tuple[int, ...]:
    return tuple(len(values) - 1 for values in s.words)


def pass_period(s: State) -> State:
    """End a period: what had been written when it began is visible to all."""
    return see(s, s.marks)._replace(marks=())


# The worker


def noted(p: Protocol, s: State, begun: int) -> State:
    """Write how many items of its turn the worker has begun."""
    return issue(s, BEGUN, s.turn << HALF | begun) if p.one_word else issue(s, INDEX, begun)


def comes(p: Protocol, turn: int) -> tuple[tuple[int, int], ...]:
    if p.one_word:
        return coming(turn)
    turn_and_index = (BEGUN, turn << HALF), (INDEX, 0)
    return ((KEPT, 0), *(turn_and_index if p.turn_first else reversed(turn_and_index)))


def worker_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    """Return what the worker may do now."""
    if s.at == "wait":
        if s.inbox:
            turn, *inbox = s.inbox
            taken = s._replace(at="come 0", inbox=tuple(inbox), turn=turn, index=0, first=0, kept=0)
            yield from worker_steps(p, scene, taken)
        return
    here = scene.item(s.turn, s.index)
    if s.at.startswith("come"):
        writes = comes(p, s.turn)
        number = int(s.at[5:])
        after = f"come {number + 1}" if number + 1 < len(writes) else to_item(p)
        yield ("come to turn", s.turn, number), lambda: issue(s, *writes[number])._replace(at=after)
    elif s.at == "note":
        after = "read" if p.notes_first else "run"
        yield ("note", here), lambda: noted(p, s, s.index + 1)._replace(at=after)
    elif s.at == "read":
        for found, (stop,) in find(s, STOP):
            if is_refused(p, s, stop):
                yield ("read STOP, refuse", here), lambda found=found: found._replace(at="withdraw")
            elif p.notes_first:
                yield ("read STOP, run", here), lambda found=found: run(found, here)
            else:
                yield ("read STOP",), lambda found=found: found._replace(at="note")
    elif s.at == "run":
        yield ("run", here), lambda: run(s, here)
    elif s.at == "withdraw":
        yield ("withdraw", here), lambda: flush(noted(p, s, s.index) if p.withdraws else s, "stopped")
    elif s.at == "stopped":
        yield ("send STOPPED", here), lambda: sent(s, "stopped", s.index, ())._replace(at="wait")
    elif s.at == "ran":
        # An item that is alone in its message is never kept; what is long, or an error, is sent at once.
        alone = scene.counts[s.turn - 1] == 1
        if not alone and "k" in scene.ways:
            yield ("keep", here), lambda: go_on(p, scene, keep(p, s, here))
        if not alone and "f" in scene.ways and s.index + 1 < scene.counts[s.turn - 1]:
            # Enough time has passed.
            yield ("keep, then flush", here), lambda: flush(go_on(p, scene, keep(p, s, here)), to_item(p))
        if alone or "s" in scene.ways:
            yield ("go to send", here), lambda: flush(s, "send")
    elif s.at == "send":
        yield (
            ("send", here),
            lambda: go_on(p, scene, sent(s, "results", s.index, (here,))._replace(first=s.index + 1)),
        )
    else:
        yield from flush_steps(p, scene, s)


def to_item(p: Protocol) -> str:
    return "note" if p.notes_first else "read"


def is_refused(p: Protocol, s: State, stop: int) -> bool:
    if not p.refuses_older and s.turn < s.work:
        return False
    return refuses(stop, s.turn, s.index)


def flush_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    """Send what is kept, and then note that nothing is."""
    after = "flush 1" if s.at == "flush 0" else s.then
    if (s.at == "flush 0") is p.sends_first:
        values = tuple(scene.item(s.turn, s.first + number) for number in range(s.kept))
        label, step = "send what is kept", sent(s, "results", s.first, values)
    else:
        label, step = "keep nothing", issue(s, KEPT, kept_word(p, s.turn, s.first + s.kept, 0))
    if s.at == "flush 1":
        step = step._replace(first=s.first + s.kept, kept=0, then="")
    yield (label,), lambda: step._replace(at=after)


def keep(p: Protocol, s: State, value: int) -> State:
    s = issue(s, RESULTS + s.kept, value)
    return issue(s, KEPT, kept_word(p, s.turn, s.first, s.kept + 1))._replace(kept=s.kept + 1)


def run(s: State, item: int) -> State:
    if s.back >> item & 1:
        raise Violation(1, f"item {item} was taken back, and now runs")
    return s._replace(at="ran", ran=s.ran | 1 << item)


def sent(s: State, kind: str, index: int, values: tuple[int, ...]) -> State:
    return s._replace(frames=(*s.frames, (kind, s.turn, index, values)), sent_at=lasts(s))


def flush(s: State, then: str) -> State:
    """Have what is kept sent, if there is anything, before the step ``then``."""
    return s._replace(at="flush 0", then=then) if s.kept else s._replace(at=then)


def go_on(p: Protocol, scene: Scene, s: State) -> State:
    if s.index + 1 < scene.counts[s.turn - 1]:
        return s._replace(at=to_item(p), index=s.index + 1)
    return flush(s, "wait")


# The parent


def parent_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    """Return what the parent may do now."""
    if s.phase in (READY, SETTLING) and s.frames:
        yield ("receive",), lambda: receive(p, scene, s)
    if s.phase == SETTLING:
        yield from settle_steps(p, scene, s)
    elif s.phase == STOPPING:
        yield from first_looks(p, s)
    elif s.phase == LOOKING:
        yield from look_steps(p, scene, s)
    elif not s.work:
        if s.given < len(scene.counts):
            yield ("give turn", s.given + 1), lambda: give(scene, s)
    else:
        if not s.next and s.stopped < s.work and s.given < len(scene.counts):
            yield ("give turn ahead", s.given + 1), lambda: give_ahead(s)
        if s.count - s.done > 1 or s.next:
            # Else `HoldUp.watch` starts no timer.
            if s.stopped < s.work:
                yield from stop_steps(p, scene, s)
            yield from first_looks(p, s)


def give(scene: Scene, s: State) -> State:
    turn = s.given + 1
    return s._replace(inbox=(*s.inbox, turn), given=turn, work=turn, done=0, count=scene.counts[turn - 1])


def give_ahead(s: State) -> State:
    turn = s.given + 1
    return s._replace(inbox=(*s.inbox, turn), given=turn, next=turn)


def looks(p: Protocol, s: State) -> Iterator[tuple[State, Words]]:
    if p.one_word:
        for found, (begun, kept) in find(s, BEGUN, KEPT):
            yield found, Words(begun, kept)
    else:
        for found, (turn, index, kept) in find(s, BEGUN, INDEX, KEPT):
            yield found, Words(turn | index, kept)


def settle(p: Protocol, s: State) -> State:
    """Begin to wait for the next look."""
    if not p.periods:
        return s._replace(phase=LOOKING)
    return s._replace(phase=SETTLING, left=p.periods, marks=lasts(s))


def settle_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    passed = pass_period(s)
    if s.left > 1:
        yield ("a period passes",), lambda: passed._replace(left=s.left - 1, marks=lasts(passed))
        return
    looking = passed._replace(phase=LOOKING, left=0)
    if s.copy is not None and p.receives:
        # The thread has waited for its sockets since the copy.
        yield ("receive, and a period passes",), lambda: receive(p, scene, looking)
    else:
        yield ("a period passes",), lambda: looking


def first_looks(p: Protocol, s: State) -> Steps:
    """Look, without a look before it that this one could be compared with."""
    for seen in product(*(may_be_found(p, s, word) for word in looked_at(p))):
        yield ("look", *seen), lambda seen=seen: settle(p, s._replace(seen=seen, copy=None))


def may_be_found(p: Protocol, s: State, word: int) -> set[int]:
    """Return the values that a first look need be tried with.

    After the wait an old value is not visible any more. So it will not be found again, and the look was in
    vain, unless the worker may write the same value once more.
    """
    *old, last = s.words[word]
    if word == BEGUN:
        again = {s.turn << HALF | s.index}
    else:
        again = {value for value in old if not value or not p.kept_names_turn}
    every = not p.one_word or not p.periods
    return {last, *(old if every else again.intersection(old))}


def stop_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    """`HoldUp._stop`."""
    if p.looks_again:
        for stop in {stop_word(p, words, s.work, s.given, scene.joins) for _, words in looks(p, s)}:
            yield ("stop", stop), lambda stop=stop: stopped(s, stop)._replace(phase=STOPPING)
        return
    for found, words in looks(p, s):
        stop = stop_word(p, words, s.work, s.given, scene.joins)
        step = stopped(found, stop)._replace(seen=words)
        yield ("stop", stop, words), lambda step=step: settle(p, step)


def stopped(s: State, stop: int) -> State:
    return issue(s, STOP, stop)._replace(stopped=s.given, present=s.work)


def look_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    """`HoldUp._look`, for the second time or the third."""
    if p.looks_again or not s.seen:
        yield from first_looks(p, s)
    for found, words in looks(p, s):
        if not p.looks_again:
            words = Words(*s.seen)
        begun = words.begun_in(s.work)
        if begun is None:
            yield ("look", words), lambda found=found: rest(found)
            continue
        behind = bool(s.next) or (scene.joins and max(begun, 1) < s.count)
        if behind and s.stopped < s.work:
            # It stops the worker instead, which it may do at any time.
            continue
        act = partial(take, scene, begun=begun, behind=behind)
        if s.copy is not None:
            if words == s.copy[0]:
                yield ("look, use the copy", words), lambda act=act, found=found: act(found)
        elif not is_as_seen(p, s, words):
            continue
        elif not begun or not kept_in(words.kept)[1]:
            yield ("look, find the same", words), lambda act=act, found=found: act(found)
        else:
            for copied, first, values in copies(p, found):
                step = copied._replace(copy=(words, first, values))
                if p.confirms:
                    yield ("copy", words, first, values), lambda step=step: settle(p, step)
                else:
                    yield ("use", words, first, values), lambda act=act, step=step: act(step)


def looked_at(p: Protocol) -> tuple[int, ...]:
    return (BEGUN, KEPT) if p.one_word else (BEGUN, INDEX, KEPT)


def is_as_seen(p: Protocol, s: State, words: Words) -> bool:
    """Return whether the look before this one found the same."""
    parts = words if p.one_word else (words.begun >> HALF << HALF, words.begun & (1 << HALF) - 1, words.kept)
    return not p.looks_again or s.seen == tuple(parts)


def copies(p: Protocol, s: State) -> Iterator[tuple[State, int, tuple[int, ...]]]:
    """`Board.kept`."""
    for found, (kept,) in find(s, KEPT):
        first, count = kept_in(kept)
        for copied, values in find(found, *range(RESULTS, RESULTS + count)):
            yield copied, first, values


def rest(s: State) -> State:
    return s._replace(phase=READY, left=0, seen=(), copy=None, marks=())


def take(scene: Scene, s: State, begun: int, behind: bool) -> State:
    """Take the results, and take back what is behind."""
    work, copy = s.work, s.copy
    s = rest(s)
    if copy is not None:
        s = take_results(scene, s, *copy[1:])
    return take_back(scene, s, begun) if behind and s.work == work else s


def take_results(scene: Scene, s: State, first: int, values: tuple[int, ...]) -> State:
    if first > s.done:
        raise Violation(4, f"results from index {first} on are kept, and {s.done} have an outcome")
    for number, value in enumerate(values, first):
        if value != scene.item(s.work, number):
            raise Violation(3, f"the result of {value} is taken for that of {scene.item(s.work, number)}")
    return take_outcomes(scene, s, values[s.done - first :])


def take_back(scene: Scene, s: State, begun: int) -> State:
    """`HoldUp._take_back`."""
    if begun < s.done:
        raise Violation(4, f"{s.done} items of turn {s.work} have an outcome, {begun} have begun")
    s = take_next_back(scene, s)
    if not scene.joins:
        return s
    start = max(begun, 1)
    return give_back(scene, s, s.work, start, s.count)._replace(count=min(s.count, start))


def take_next_back(scene: Scene, s: State) -> State:
    return give_back(scene, s, s.next, 0, scene.counts[s.next - 1])._replace(next=0) if s.next else s


def give_back(scene: Scene, s: State, turn: int, start: int, end: int) -> State:
    """Have some items of a turn run elsewhere."""
    back = s.back
    for index in range(start, end):
        item = scene.item(turn, index)
        if s.ran >> item & 1:
            raise Violation(1, f"item {item} has run, and is taken back")
        back |= 1 << item
    return check_once(s._replace(back=back))


def check_once(s: State) -> State:
    twice = s.outcomes & s.back | s.outcomes & s.blamed | s.back & s.blamed
    if twice:
        raise Violation(3, f"items {twice:b} end twice")
    return s


def take_outcomes(scene: Scene, s: State, values: tuple[int, ...]) -> State:
    """`Dispatcher.outcomes` and `Hearing._heard_of`."""
    if not values:
        return s
    for value in values:
        item = scene.item(s.work, s.done)
        if s.done >= s.count:
            raise Violation(4, f"outcome {s.done} of turn {s.work}, which has {s.count} items")
        if value != item or s.outcomes >> item & 1:
            raise Violation(3, f"the result of {value} is taken for that of {item}")
        s = s._replace(done=s.done + 1, outcomes=s.outcomes | 1 << item)
    s = check_once(s)
    return has_no_work(scene, s) if s.done == s.count else s


def has_no_work(scene: Scene, s: State) -> State:
    count = scene.counts[s.next - 1] if s.next else 0
    return rest(s)._replace(work=s.next, next=0, done=0, count=count)


def receive(p: Protocol, scene: Scene, s: State) -> State:
    """`Hearing.take`, for all frames that have arrived."""
    frames = s.frames
    if s.sent_at and p.sockets_order:
        # STOP is the parent's own.
        s = see(s, [0 if word == STOP else number for word, number in enumerate(s.sent_at)])
    s = s._replace(frames=(), sent_at=())
    for kind, turn, index, values in frames:
        if turn != s.work:
            continue
        if kind == "results":
            if index > s.done:
                raise Violation(4, f"outcome {index} of turn {turn} came before {s.done}")
            s = take_outcomes(scene, s, values[s.done - index :])
        else:
            if index != s.done:
                raise Violation(4, f"item {index} of turn {turn} is refused, {s.done} have an outcome")
            if not index and turn == s.present:
                raise Violation(5, f"turn {turn} was refused whole")
            s = give_back(scene, take_next_back(scene, s), turn, s.done, s.count)
            s = has_no_work(scene, s)
    return s


@lru_cache(1 << 18)
def check_death(p: Protocol, scene: Scene, s: State) -> None:
    """Check what the parent does when the worker dies now."""
    bury(p, scene, s)


def dying(s: State) -> State:
    """Leave out what does not matter any more: all that was written is visible, and no look goes on."""
    return rest(s)._replace(
        words=tuple(values[-1:] for values in s.words), sent_at=(), inbox=(), first=0, kept=0
    )


def bury(p: Protocol, scene: Scene, s: State) -> None:
    """`Workers._hear_last` and `Endings.died`."""
    s = rest(receive(p, scene, s))
    ((s, words),) = looks(p, s)
    if s.work and words.begun_in(s.work):
        ((s, first, values),) = copies(p, s)
        s = take_results(scene, s, first, values)
    s = take_next_back(scene, s)
    if s.work:
        start = s.done
        if start < s.count and (words.begun_in(s.work) or 0) > start:
            s = blame(scene, s, scene.item(s.work, start))
            start += 1
        s = give_back(scene, s, s.work, start, s.count)
    check_ended(scene, s._replace(work=0))


def blame(scene: Scene, s: State, item: int) -> State:
    here = scene.item(s.turn, s.index)
    if s.ran >> item & 1:
        if item != here or (s.at != "ran" and s.then != "send" and s.at != "send"):
            raise Violation(3, f"the result of {item}, which was kept or sent, is lost")
    elif item != here or s.at not in ("read", "withdraw", "run"):
        # Between the note and the withdrawal nobody knows what the worker would have done.
        raise Violation(2, f"item {item} never ran")
    return check_once(s._replace(blamed=s.blamed | 1 << item))


def check_ended(scene: Scene, s: State) -> None:
    """Check that nothing is missing, where no step is left."""
    last = sum(scene.counts[: s.given])
    missing = (1 << last + 1) - 2 & ~(s.outcomes | s.back | s.blamed)
    if s.work or missing:
        raise Violation(3, f"items {missing:b} have not ended, and turn {s.work} is still awaited")


# The explorer


class Found(NamedTuple):
    """What an exploration has come to.

    Attributes:
        states: how many there are.
        violations: of each property that was violated, one way to it.
    """

    states: int
    violations: dict[int, str]


def explore(p: Protocol, scene: Scene, until: int = 0) -> Found:
    """Run all interleavings, depth first; a step that violates a property is not followed any further.

    Args:
        p: the protocol.
        scene: what the worker is given.
        until: end when this property was found violated; 0: go on to the end.
    """
    start = State(((0,),) * (RESULTS + max(scene.counts)))
    came: Came = {start: None}
    violations: dict[int, str] = {}
    to_do = [start]
    while to_do and until not in violations:
        s = to_do.pop()
        try:
            check_death(p, scene, dying(s))
        except Violation as error:
            if error.number not in violations:
                violations[error.number] = way_to(came, s, ("death",), error)
        try:
            if (
                s.phase == READY
                and s.at == "wait"
                and s.given == len(scene.counts)
                and not s.inbox + s.frames
            ):
                check_ended(scene, s)
        except Violation as error:
            violations.setdefault(error.number, way_to(came, s, ("end",), error))
        for who, steps in (("worker", worker_steps), ("parent", parent_steps)):
            for label, step in steps(p, scene, s):
                try:
                    after = step()
                except Violation as error:
                    if error.number not in violations:
                        violations[error.number] = way_to(came, s, (who, *label), error)
                    continue
                if after not in came:
                    came[after] = s, (who, *label)
                    to_do.append(after)
    return Found(len(came), violations)


def way_to(came: Came, s: State, last: Label, error: Violation) -> str:
    """Return the steps that lead to a violation, one a line."""
    labels = [last]
    while (before := came[s]) is not None:
        s, label = before
        labels.append(label)
    return "\n".join([*(" ".join(map(str, label)) for label in reversed(labels)), str(error)])


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """Spare the collector a hundred thousand states, in which there is no garbage."""
    gc.disable()
    yield
    check_death.cache_clear()
    gc.enable()


@pytest.mark.parametrize(
    "scene",
    [
        Scene((2,)),
        Scene((1, 2), ways="kf"),
        Scene((3,), ways="k"),
        Scene((2, 2), ways="k"),
        Scene((2, 2), ways="s"),
        Scene((2, 1), joins=False, ways="s"),
        pytest.param(Scene((1, 2)), marks=pytest.mark.slow),
        pytest.param(Scene((2, 2), joins=False, ways="k"), marks=pytest.mark.slow),
        pytest.param(Scene((3,)), marks=pytest.mark.slow),
        pytest.param(Scene((2, 1)), marks=pytest.mark.slow),
        pytest.param(Scene((2, 2), ways="ks"), marks=pytest.mark.slow),
        pytest.param(Scene((2, 1, 1), ways="s"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_protocol_keeps_its_properties(scene: Scene) -> None:
    found = explore(Protocol(), scene)
    assert not found.violations, "\n\n".join(found.violations.values())
    assert found.states > 1000


@pytest.mark.parametrize(
    ("number", "weakened", "scene"),
    [
        # As it was: a parent sees an item of the old turn that is none.
        (1, {"one_word": False, "turn_first": False}, Scene((2, 1), ways="s")),
        # With the writer mended: the old turn with the new index, or the other way round.
        (2, {"one_word": False}, Scene((2, 1), ways="s")),
        (4, {"one_word": False}, Scene((2, 1), ways="s")),
        (2, {"withdraws": False}, Scene((2,), ways="k")),
        (1, {"notes_first": False}, Scene((2,), ways="k")),
        (1, {"looks_again": False}, Scene((2,), ways="k")),
        (1, {"periods": 0}, Scene((2,), ways="k")),
        (1, {"periods": 1}, Scene((2,), ways="k")),
        (3, {"confirms": False}, Scene((2,), ways="kf")),
        (4, {"receives": False}, Scene((2,), ways="kf")),
        # At its death, KEPT says that more was sent than was.
        (4, {"sends_first": False}, Scene((2,), ways="kf")),
        (5, {"first_runs": False}, Scene((2,), ways="k")),
        (5, {"noted_may_run": False}, Scene((2,), ways="k")),
        (1, {"refuses_older": False}, Scene((2, 2), ways="s")),
        (3, {"kept_names_turn": False}, Scene((2, 2), ways="k")),
        (4, {"sockets_order": False}, Scene((2,), ways="s")),
    ],
    ids=str,
)
def test_the_model_finds_each_weakening(number: int, weakened: dict[str, Any], scene: Scene) -> None:
    assert number in explore(Protocol(**weakened), scene, until=number).violations

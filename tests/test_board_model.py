"""A model of the protocol between a worker and the parent (``_board``), with all interleavings run.

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
order. A socket orders nothing but its own frames. The one thing that passing time proves: what was written
before a *period* began is visible when it ends. A wait of ``SETTLE_SECONDS`` is two periods (see `PERIODS`).
So the model has no step in which a write becomes visible: a word is the list of values that the other side may
still find in it, and a reader takes any of them.

A process may stand still between any two of its steps: all others are tried meanwhile. Reads that directly
follow each other are one step, which loses nothing: a later read may still find an older value.

Every state is checked against the five properties of `PROPERTIES`. Each way to weaken the protocol, a field
of `Protocol`, is shown to break one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import pytest

from bounded_executor._board import BEGUN, HALF, INTEGER_BYTES, INTEGERS, KEPT, STOP, Board, May, Place, Words

PROPERTIES = {
    1: "no item runs in the worker and is taken back as well",
    2: "an item that is blamed for a death had begun",
    3: "each item has one outcome, its own; or was taken back; or is blamed. No result is lost",
    4: "no count is ever negative, or more than there are",
    5: "of a turn that was the worker's present one when it was stopped, at least one item stays with it",
}

# A write is visible within a microsecond, and a wait takes two thousand. The protocol needs two of them. In the
# first, STOP reaches the worker. In the second, the note of an item reaches the parent which the worker began
# just before that.
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
    refuses_older: bool = True  # STOP holds for turns before the one that the parent takes for the present


class Scene(NamedTuple):
    """What the worker is given.

    Attributes:
        counts: items of each turn.
        joins: the parent takes back items of the present turn too, and not only the turn behind it.
    """

    counts: tuple[int, ...]
    joins: bool = True

    def item(self, turn: int, index: int) -> int:
        """Return the number of an item among all, from 1; its result is the same number."""
        return sum(self.counts[: turn - 1]) + index + 1


class State(NamedTuple):
    """All that there is; sets of items are bit masks.

    Attributes:
        words: for each, the values that the other side may find, oldest first.
        marks: for each, which of its values was the last when the present period began.
        frames: on their way to the parent: kind, turn, index, results.
        inbox: turns on their way to the worker.
        at: the worker's next step; `then` is the one after a flush.
        first: the index of the first result that the worker keeps, and `kept` their number.
        work: the turn that the parent takes for the present one, of `count` items, `done` with an outcome.
        next: the turn that was given ahead.
        given: turns given so far.
        stopped: the last turn that STOP was written for, and `present` the present one then.
        phase: the parent's, with `left` periods to wait.
        seen: the words at the last look, and `copy` the results that were copied: first index, values.
        ran, safe, declined: by the worker: begun to run; results that were kept or sent; refused.
        outcomes, back, blamed: by the parent.
    """

    words: tuple[tuple[int, ...], ...]
    marks: tuple[int, ...] = ()
    frames: tuple[tuple[str, int, int, tuple[int, ...]], ...] = ()
    inbox: tuple[int, ...] = ()
    alive: bool = True
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
    seen: Words | None = None
    copy: tuple[int, tuple[int, ...]] | None = None
    ran: int = 0
    safe: int = 0
    declined: int = 0
    outcomes: int = 0
    back: int = 0
    blamed: int = 0
    buried: bool = False


Steps = Iterator[tuple[str, Callable[[], State]]]


class Violation(Exception):
    """A property does not hold."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{PROPERTIES[number]}: {text}")
        self.number = number


# What is there once, from the package.


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
def stop_word(present: int, last: int, may: int) -> int:
    board = object.__new__(Board)
    board._words = numbers = _Numbers()  # type: ignore[assignment]
    board.stop(0, present, last, may)
    return numbers[STOP]


def kept_word(first: int, count: int) -> int:
    """Return KEPT as an ``Outbox`` writes it."""
    return first << HALF | (INTEGERS | count * INTEGER_BYTES if count else 0)


def kept_in(word: int) -> tuple[int, int]:
    """Return the index of the first result, and their number, as ``Board.kept`` does."""
    return word >> HALF, (word & INTEGERS - 1) // INTEGER_BYTES


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
        found, marks = list(s.words), list(s.marks)
        for word, number in zip(words, choice, strict=True):
            # What was seen once stays.
            found[word] = found[word][number:]
            if marks:
                marks[word] = max(0, marks[word] - number)
        yield (
            s._replace(words=tuple(found), marks=tuple(marks)),
            tuple(found[word][0] for word in words),
        )


def mark(s: State) -> State:
    """Begin a period."""
    return s._replace(marks=tuple(len(values) - 1 for values in s.words))


def pass_period(s: State) -> State:
    """End a period: what had been written when it began is visible to all."""
    return s._replace(
        words=tuple(values[number:] for values, number in zip(s.words, s.marks, strict=True)), marks=()
    )


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
    if not s.alive:
        return
    here = scene.item(s.turn, s.index)
    to_item = "note" if p.notes_first else "read"
    if s.at == "wait":
        if s.inbox:
            yield (
                f"receive turn {s.inbox[0]}",
                lambda: s._replace(at="come 0", turn=s.inbox[0], inbox=s.inbox[1:], index=0, first=0, kept=0),
            )
        return
    yield "die", lambda: s._replace(alive=False, words=tuple(values[-1:] for values in s.words), marks=())
    if s.at.startswith("come"):
        writes = comes(p, s.turn)
        number = int(s.at[5:])
        after = f"come {number + 1}" if number + 1 < len(writes) else to_item
        yield f"come to turn {s.turn}, write {number}", lambda: issue(s, *writes[number])._replace(at=after)
    elif s.at == "note":
        yield (
            f"note item {here}",
            lambda: noted(p, s, s.index + 1)._replace(at="read" if p.notes_first else "run"),
        )
    elif s.at == "read":
        for found, (stop,) in find(s, STOP):
            refused = refuses(stop, s.turn, s.index)
            if not p.refuses_older and s.turn < s.stopped - bool(stop & 4):
                refused = False
            if refused:
                yield "read STOP, which refuses it", lambda found=found: found._replace(at="withdraw")
            elif p.notes_first:
                yield f"read STOP, run item {here}", lambda found=found: run(found, here)
            else:
                yield "read STOP", lambda found=found: found._replace(at="note")
    elif s.at == "run":
        yield f"run item {here}", lambda: run(s, here)
    elif s.at == "withdraw":
        yield (
            "withdraw the note",
            lambda: flush(
                (noted(p, s, s.index) if p.withdraws else s)._replace(declined=s.declined | 1 << here), "stopped"
            ),
        )
    elif s.at == "stopped":
        yield "send STOPPED", lambda: sent(s, "stopped", s.index, ())._replace(at="wait")
    elif s.at == "ran":
        # What is alone in its message is never kept; what is long, or an error, is sent at once.
        if scene.counts[s.turn - 1] > 1:
            yield (
                f"write the result of {here}",
                lambda: issue(s, RESULTS + s.kept, here)._replace(at="keep"),
            )
        yield f"send the result of {here} alone", lambda: flush(s, "send")
    elif s.at == "keep":
        kept = issue(s, KEPT, kept_word(s.first, s.kept + 1))._replace(
            kept=s.kept + 1, safe=s.safe | 1 << here
        )
        yield f"keep the result of {here}", lambda: go_on(p, scene, kept)
        yield f"keep the result of {here}, which is time to send", lambda: flush(kept, "go on")
    elif s.at == "send":
        alone = sent(s, "results", s.index, (here,))._replace(first=s.index + 1)
        yield f"send {here}", lambda: go_on(p, scene, alone)
    elif s.at == "go on":
        yield "go on", lambda: go_on(p, scene, s)
    elif s.at in ("flush 0", "flush 1"):
        sends = (s.at == "flush 0") is p.sends_first
        after = "flush 1" if s.at == "flush 0" else s.then
        if sends:
            values = tuple(scene.item(s.turn, s.first + number) for number in range(s.kept))
            step = sent(s, "results", s.first, values)
        else:
            step = issue(s, KEPT, kept_word(s.first + s.kept, 0))
        if s.at == "flush 1":
            step = step._replace(first=s.first + s.kept, kept=0, then="")
        yield "send what is kept" if sends else "note that nothing is kept", lambda: step._replace(at=after)


def run(s: State, item: int) -> State:
    if s.back >> item & 1:
        raise Violation(1, f"item {item} was taken back, and now runs")
    return s._replace(at="ran", ran=s.ran | 1 << item)


def sent(s: State, kind: str, index: int, values: tuple[int, ...]) -> State:
    safe = s.safe
    for value in values:
        safe |= 1 << value
    return s._replace(frames=(*s.frames, (kind, s.turn, index, values)), safe=safe)


def flush(s: State, then: str) -> State:
    """Have what is kept sent, if there is anything, before the step ``then``."""
    return s._replace(at="flush 0", then=then) if s.kept else s._replace(at=then)


def go_on(p: Protocol, scene: Scene, s: State) -> State:
    if s.index + 1 < scene.counts[s.turn - 1]:
        return s._replace(at="note" if p.notes_first else "read", index=s.index + 1)
    return flush(s, "wait")


# The parent


def parent_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    """Return what the parent may do now."""
    if s.buried:
        return
    if not s.alive:
        yield "learn of the death", lambda: bury(p, scene, s)
    if s.phase == SETTLING:
        yield from settle_steps(p, scene, s)
        return
    if s.frames:
        yield "receive", lambda: receive(scene, s)
    if s.phase == STOPPING:
        for found, words in looks(p, s):
            yield f"look: {words}", lambda found=found, words=words: settle(p, found._replace(seen=words))
    elif s.phase == LOOKING:
        yield from look_steps(p, scene, s)
    else:
        yield from ready_steps(p, scene, s)


def ready_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    if not s.work:
        if s.given < len(scene.counts):
            yield f"give turn {s.given + 1}", lambda: give(scene, s)
        return
    if not s.next and s.stopped < s.work and s.given < len(scene.counts):
        yield f"give turn {s.given + 1} ahead", lambda: give_ahead(s)
    if s.count - s.done > 1 or s.next:
        # `HoldUp.watch` has started a timer.
        if s.stopped < s.work:
            yield from stop_steps(p, scene, s)
        yield from look_steps(p, scene, s)


def give(scene: Scene, s: State) -> State:
    turn = s.given + 1
    return s._replace(
        inbox=(*s.inbox, turn), given=turn, work=turn, done=0, count=scene.counts[turn - 1]
    )


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
    return mark(s)._replace(phase=SETTLING, left=p.periods)


def settle_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    passed = pass_period(s)
    if s.left > 1:
        yield "a period passes", lambda: mark(passed)._replace(left=s.left - 1)
        return
    looking = passed._replace(phase=LOOKING, left=0)
    if s.copy is not None and p.receives:
        # The thread has waited for sockets since the copy.
        yield "a period passes, receive", lambda: receive(scene, looking)
        return
    yield "a period passes", lambda: looking
    if s.frames:
        yield "a period passes, receive", lambda: receive(scene, looking)


def stop_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    """`HoldUp._stop`."""
    for found, words in looks(p, s):
        may = May.ALL
        if scene.joins:
            may = May.FIRST if words.begun_in(s.work) == 0 and p.first_runs else May.NOTHING
        step = issue(found, STOP, stop_word(s.work, s.given, may))._replace(stopped=s.given, present=s.work)
        if p.looks_again:
            step = step._replace(phase=STOPPING)
        else:
            step = settle(p, step._replace(seen=words))
        yield f"stop after {words}", lambda step=step: step


def look_steps(p: Protocol, scene: Scene, s: State) -> Steps:
    """`HoldUp._look`."""
    for found, words in looks(p, s):
        if s.seen is not None and not p.looks_again:
            # What was read first is taken for the truth.
            words = s.seen
        begun = words.begun_in(s.work)
        label = f"look: {words}"
        if begun is None:
            yield label, lambda found=found: rest(found)
            continue
        behind = bool(s.next) or (scene.joins and max(begun, 1) < s.count)
        if behind and s.stopped < s.work:
            # It stops the worker, as above.
            continue
        if s.seen != words:
            yield label, lambda found=found, words=words: settle(p, found._replace(seen=words, copy=None))
        elif s.copy is None and begun and kept_in(words.kept)[1]:
            for copied, copy in copies(found):
                if p.confirms:
                    yield f"copy {copy}", lambda copied=copied, copy=copy: settle(p, copied._replace(copy=copy))
                else:
                    yield (
                        f"use {copy}",
                        lambda copied=copied, copy=copy: act(scene, copied._replace(copy=copy), begun, behind),
                    )
        else:
            yield (
                f"{label}, which is settled",
                lambda found=found, begun=begun, behind=behind: act(scene, found, begun, behind),
            )


def copies(s: State) -> Iterator[tuple[State, tuple[int, tuple[int, ...]]]]:
    """`Board.kept`."""
    for found, (kept,) in find(s, KEPT):
        first, count = kept_in(kept)
        for copied, values in find(found, *range(RESULTS, RESULTS + count)):
            yield copied, (first, values)


def rest(s: State) -> State:
    return s._replace(phase=READY, left=0, seen=None, copy=None, marks=())


def act(scene: Scene, s: State, begun: int, behind: bool) -> State:
    """Take the results, and take back what is behind."""
    work, copy = s.work, s.copy
    s = rest(s)
    if copy is not None:
        s = take_results(scene, s, *copy)
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


def receive(scene: Scene, s: State) -> State:
    """`Hearing.take`, for all frames that have arrived."""
    frames = s.frames
    s = s._replace(frames=())
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


def bury(p: Protocol, scene: Scene, s: State) -> State:
    """`Workers._hear_last` and `Endings.died`."""
    s = rest(receive(scene, s))
    ((s, words),) = looks(p, s)
    if s.work and words.begun_in(s.work):
        ((s, (first, values)),) = copies(s)
        s = take_results(scene, s, first, values)
    s = take_next_back(scene, s)
    if s.work:
        start = s.done
        if start < s.count and (words.begun_in(s.work) or 0) > start:
            s = blame(scene, s, scene.item(s.work, start))
            start += 1
        s = give_back(scene, s, s.work, start, s.count)
    s = s._replace(work=0, done=0, count=0, buried=True)
    check_ended(scene, s)
    return s


def blame(scene: Scene, s: State, item: int) -> State:
    if s.safe >> item & 1:
        raise Violation(3, f"the result of {item}, which was kept or sent, is lost")
    # Where the worker dies between the note and the next step, it is not known what that would have been.
    if not s.ran >> item & 1 and (s.declined >> item & 1 or item != scene.item(s.turn, s.index)):
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


def explore(p: Protocol, scene: Scene) -> Found:
    """Run all interleavings, depth first; a step that violates a property is not followed any further."""
    start = State(((0,),) * (RESULTS + max(scene.counts)))
    came: dict[State, tuple[State, str] | None] = {start: None}
    violations: dict[int, str] = {}
    to_do = [start]
    while to_do:
        s = to_do.pop()
        try:
            if s.phase == READY and s.at == "wait" and s.given == len(scene.counts) and not s.inbox + s.frames:
                check_ended(scene, s)
        except Violation as error:
            violations.setdefault(error.number, way_to(came, s, "", error))
        for who, steps in (("worker", worker_steps), ("parent", parent_steps)):
            for label, step in steps(p, scene, s):
                try:
                    after = step()
                except Violation as error:
                    violations.setdefault(error.number, way_to(came, s, f"{who}: {label}", error))
                    continue
                if after not in came:
                    came[after] = s, f"{who}: {label}"
                    to_do.append(after)
    return Found(len(came), violations)


def way_to(came: dict[State, tuple[State, str] | None], s: State, last: str, error: Violation) -> str:
    labels = [str(error), last]
    while (before := came[s]) is not None:
        s, label = before
        labels.append(label)
    return "\n".join(reversed(labels))

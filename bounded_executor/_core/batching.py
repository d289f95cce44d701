"""How many short tasks travel together.

A message between two processes costs what some ten of the shortest tasks do. So these share one. It is
never filled with more than a worker does in about two milliseconds, and than its part of what waits: so
none is idle while another has much before it, and tasks of that length or longer travel alone. How long
a task takes is the running average of its function, so the first ones of a function travel alone too.
"""

from __future__ import annotations

from collections import OrderedDict

from .work import Work

__all__ = ["BATCH_SECONDS", "MOST_REFUSALS", "RESULT_BYTES", "gather", "is_done_within", "lightest", "most"]

# How long a worker of ours should be busy with what one message brings.
BATCH_SECONDS = 0.0025
# What a message may weigh if it holds more than one task, there and, as far as is known, back.
BATCH_BYTES = 1 << 18
# What the results of the tasks that a worker has may weigh together, as far as is known, where there are more
# than one.
RESULT_BYTES = 1 << 20
# Times that tasks may be taken back from workers in a row, with no outcome in between. After that each is
# given by itself, and to a worker that has nothing else.
MOST_REFUSALS = 100
# What a message may hold. More would make it hardly cheaper.
BATCH_TASKS = 256


def is_done_within(work: Work, seconds: float | None) -> bool:
    """Return whether one task takes so long at most, as far as is known; None: it may take any time."""
    if seconds is None:
        return True
    if work.sink.revocable or work.refusals >= MOST_REFUSALS:
        # It could not be ended before it has begun.
        return False
    known = work.function.seconds
    heavy = max(work.weight(), work.function.size) > BATCH_BYTES
    return known is not None and known <= seconds and not heavy


def lightest(work: Work, weight: int) -> int:
    """Return how many tasks of this work have results of this weight, as far as is known; 1 at least."""
    return max(1, int(weight / max(work.function.size, 1.0)))


def gather(first: Work, waiting: OrderedDict[int, Work], most: int) -> list[Work]:
    """Return what may travel with ``first`` and waits just behind it, and that.

    Args:
        first: taken out already.
        waiting: by its number, in the order in which it waits; its owner's lock is held.
        most: tasks in all.
    """
    works = [first]
    count, weight = first.count, first.weight()
    for work in waiting.values():
        count += work.count
        weight += work.weight()
        if count > most or weight > BATCH_BYTES or not works[-1].is_joined_by(work) or work.sink.full(work):
            break
        works.append(work)
    return works


def most(
    work: Work, waiting: int, among: int, limit: int | None, batch_seconds: float = BATCH_SECONDS
) -> int:
    """Return how many tasks may travel with what was taken from the queue, itself included.

    Args:
        work: what was taken.
        waiting: tasks that wait, those of ``work`` included.
        among: workers that share them.
        limit: tasks that the worker may run; None for any number.
        batch_seconds: how long they should take together.
    """
    seconds = work.function.seconds
    if seconds is None:
        return work.count
    part = -(-waiting // among)
    quick = int(batch_seconds / max(seconds, 1e-9))
    number = min(BATCH_TASKS, part, quick, lightest(work, BATCH_BYTES))
    return number if limit is None else min(number, limit)

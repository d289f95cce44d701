"""What multiprocessing shares between processes, handed to them through ``initargs``."""

from __future__ import annotations

import multiprocessing

import pytest
import tasks

from bounded_executor import BoundedProcessPoolExecutor

KINDS = ["Queue", "JoinableQueue", "Event", "Condition", "Semaphore", "BoundedSemaphore"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_made_for_fork_is_refused(kind: str) -> None:
    shared = getattr(multiprocessing.get_context("fork"), kind)()
    with pytest.raises(RuntimeError, match="made for the fork start method"):
        BoundedProcessPoolExecutor(1, initializer=tasks.initialize, initargs=(shared, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_made_for_spawn_arrives(kind: str) -> None:
    shared = getattr(multiprocessing.get_context("spawn"), kind)()
    with BoundedProcessPoolExecutor(1, initializer=tasks.initialize, initargs=(shared, 1)) as ex:
        assert ex.submit(tasks.give, 1).result() == 1

"""What tasks, and the executors that run them, may do that they should not."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest
from helpers import PATIENCE, wait_until

from bounded_executor import BoundedExecutor


class Thing:
    """An argument that can be seen to be gone."""

    def __reduce__(self) -> Any:
        raise TypeError("it stays here")


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Only what nothing refers to is freed in here."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def assert_gone(seen: weakref.ref[Any]) -> None:
    wait_until(lambda: seen() is None, "what was used is gone", 5)


@contextlib.contextmanager
def over_threads(workers: int = 1, **options: Any) -> Iterator[BoundedExecutor]:
    with ThreadPoolExecutor(workers) as threads, BoundedExecutor(threads, **options) as ex:
        yield ex


# What is kept alive.


def fail(thing: object) -> None:
    raise LookupError("a task")


def by_submit(ex: BoundedExecutor, thing: object) -> None:
    assert isinstance(ex.submit(fail, thing).exception(PATIENCE), LookupError)


def by_result(ex: BoundedExecutor, thing: object) -> None:
    with pytest.raises(LookupError):
        ex.submit(fail, thing).result(PATIENCE)


def by_map(ex: BoundedExecutor, thing: object) -> None:
    with contextlib.suppress(LookupError):
        list(ex.map(fail, [thing]))


def by_stop(ex: BoundedExecutor, thing: object) -> None:
    with contextlib.suppress(RuntimeError):
        list(ex.map(lambda thing: next(iter(())), [thing]))


@pytest.mark.parametrize("how", [by_submit, by_result, by_map, by_stop])
def test_an_error_over_threads_keeps_nothing_alive(how: Callable[[BoundedExecutor, object], None]) -> None:
    with no_collector(), over_threads() as ex:
        thing = Thing()
        seen = weakref.ref(thing)
        how(ex, thing)
        del thing
        assert_gone(seen)


def test_what_cannot_be_pickled_is_not_kept_alive() -> None:
    with ProcessPoolExecutor(1) as processes, BoundedExecutor(processes) as ex, no_collector():
        thing = Thing()
        seen = weakref.ref(thing)
        assert isinstance(ex.submit(abs, thing).exception(PATIENCE), TypeError)
        del thing
        assert_gone(seen)

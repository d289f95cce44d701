"""An exception that refuses attributes fails its own future as itself, and ends no process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import refusing
import tasks
from helpers import PATIENCE, assert_all_free

from bounded_executor import BoundedExecutor, BoundedProcessPoolExecutor, BrokenProcessPool

kinds = pytest.mark.parametrize("kind", refusing.KINDS)


@pytest.fixture
def ex() -> Iterator[BoundedProcessPoolExecutor]:
    with BoundedProcessPoolExecutor(1, task_retries=2) as executor:
        pid = executor.submit(tasks.pid).result(PATIENCE)
        yield executor
        assert executor.submit(tasks.pid).result(PATIENCE) == pid, "the process was replaced"
        assert executor.stats().retried == 0
        assert_all_free(executor)


@kinds
@pytest.mark.parametrize("function", [refusing.fail, refusing.fail_from])
def test_it_fails_its_own_future_as_itself(
    ex: BoundedProcessPoolExecutor, function: object, kind: type[Exception]
) -> None:
    error = ex.submit(function, kind, 7).exception(PATIENCE)  # type: ignore[arg-type]
    assert type(error) is kind
    assert error.code == 7  # type: ignore[attr-defined]
    assert error.args == (7,)


@kinds
def test_it_can_be_raised(ex: BoundedProcessPoolExecutor, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        ex.submit(refusing.fail, kind, 7).result(PATIENCE)
    cause = vars(BaseException)["__cause__"].__get__(caught.value)
    assert "in fail" in str(cause)


@kinds
def test_among_short_tasks_it_fails_one(ex: BoundedProcessPoolExecutor, kind: type[Exception]) -> None:
    before = [ex.submit(tasks.double, number) for number in range(50)]
    failed = ex.submit(refusing.fail, kind, 7)
    after = [ex.submit(tasks.double, number) for number in range(50)]
    assert type(failed.exception(PATIENCE)) is kind
    assert [future.result(PATIENCE) for future in before + after] == [2 * n for n in range(50)] * 2


@kinds
def test_a_map_ends_with_it(ex: BoundedProcessPoolExecutor, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        list(ex.map(refusing.fail, [kind] * 3, range(3)))


@kinds
def test_raised_by_pickling_it_fails_that_call(ex: BoundedProcessPoolExecutor, kind: type[Exception]) -> None:
    future = ex.submit(tasks.give, refusing.FailsToPickle(kind))
    assert type(future.exception(PATIENCE)) is kind


@kinds
def test_raised_by_an_initializer_it_is_the_cause(kind: type[Exception]) -> None:
    with BoundedProcessPoolExecutor(1, None, refusing.fail, (kind, 7)) as ex:
        error = ex.submit(tasks.give).exception(PATIENCE)
    assert isinstance(error, BrokenProcessPool)
    assert type(error.__cause__) is kind


@kinds
def test_over_another_executor(kind: type[Exception]) -> None:
    with ThreadPoolExecutor(1) as threads, BoundedExecutor(threads) as ex:
        assert type(ex.submit(refusing.fail, kind, 7).exception(PATIENCE)) is kind

"""Functions whose pickle is made once, and arguments and results that take a short way."""

from __future__ import annotations

import gc
import weakref

import pytest
import tasks
from helpers import PATIENCE, run_script

from bounded_executor import BoundedProcessPoolExecutor


def test_a_function_that_was_replaced_in_its_module_is_the_one_that_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its pickle is made once, and names it; from then on the name means another."""
    with BoundedProcessPoolExecutor(1) as ex:
        double = tasks.double
        assert ex.submit(double, 2).result(PATIENCE) == 4
        monkeypatch.setattr(tasks, "double", tasks.give)
        assert ex.submit(double, 2).result(PATIENCE) == 4
        assert ex.submit(tasks.double, 2).result(PATIENCE) == 2
        assert list(ex.map(double, [1, 2])) == [2, 4]
        monkeypatch.undo()
        assert [future.result(PATIENCE) for future in [ex.submit(tasks.double, n) for n in range(50)]] == [
            2 * n for n in range(50)
        ]


def test_no_function_is_kept_once_its_tasks_are_done() -> None:
    with BoundedProcessPoolExecutor(1) as ex:

        def local(value: int) -> int:
            return value + 1

        assert [future.result(PATIENCE) for future in [ex.submit(local, n) for n in range(50)]] == [
            n + 1 for n in range(50)
        ]
        assert list(ex.map(local, range(3))) == [1, 2, 3]
        gone = weakref.ref(local)
        del local
        gc.collect()
        assert gone() is None


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**63, 10**400, -(10**400), True, 1.5, float("inf")])
def test_numbers_of_any_length(value: float) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        values = [1, value, 2, None, value, 3] * 20
        assert list(ex.map(tasks.give, values)) == values
        assert [type(one) for one in ex.map(tasks.give, values)] == [type(one) for one in values]
        assert list(ex.map(tasks.give, [value] * 50, chunksize=7)) == [value] * 50
        assert [future.result(PATIENCE) for future in [ex.submit(tasks.give, n) for n in values]] == values


def test_a_global_that_cannot_be_sent_is_named_where_it_is_used() -> None:
    run_script(
        """
        import functools, logging, threading
        from bounded_executor import BoundedProcessPoolExecutor

        said = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        logging.getLogger("bounded_executor").addHandler(handler)
        lock = threading.Lock()

        def locked(number, use=True):
            def inner():
                if not use:
                    return number
                with lock:
                    return number
            return inner()

        def fails(call, kind):
            try:
                call()
            except kind as error:
                return str(error)
            raise AssertionError("it was sent")

        with BoundedProcessPoolExecutor(1) as ex:
            for number in range(2):
                text = fails(ex.submit(locked, number).result, NameError)
                assert text.startswith("name 'lock' is not defined: the main module's lock is a"), text
                assert "cannot pickle '_thread.lock' object" in text, text
            fails(lambda: list(ex.map(functools.partial(locked), [1])), NameError)
            # A task that does without it runs.
            assert ex.submit(locked, 1, False).result() == 1
            # It is not the function's fault.
            assert "cannot pickle" in fails(ex.submit(lambda value: 1, lock).result, TypeError)
        assert said == [], said
        """
    )

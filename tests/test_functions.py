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


def test_a_global_that_keeps_a_function_from_being_sent_is_named() -> None:
    run_script(
        """
        import functools, logging, threading
        from bounded_executor import BoundedProcessPoolExecutor

        said = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        logging.getLogger("bounded_executor").addHandler(handler)
        lock = threading.Lock()

        def locked(number):
            def inner():
                with lock:
                    return number
            return inner()

        def fails(call):
            try:
                call()
            except TypeError as error:
                return str(error) + "".join(getattr(error, "__notes__", [])), error.__context__
            raise AssertionError("it was sent")

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1) as ex:
                first, context = fails(ex.submit(locked, 1).result)
                assert "cannot pickle" in first and context is None, (first, context)
                if hasattr(TypeError, "add_note"):
                    assert "lock cannot be pickled" in first, first
                fails(ex.submit(locked, 2).result)
                fails(lambda: list(ex.map(functools.partial(locked), [1])))
                # It is not the function's fault.
                fails(ex.submit(lambda value: 1, lock).result)
            (text,) = said
            assert text.startswith("__main__.locked cannot be sent to a worker"), text
            assert "and lock cannot be pickled" in text, text
        """
    )

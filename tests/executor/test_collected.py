"""Shutdown in a ``__del__`` that the collector runs wherever it likes, in the middle of our own code too."""

from __future__ import annotations

import gc
import threading

import pytest
import tasks
from helpers import PATIENCE, SPAWNED, run_script

from bounded_executor import BoundedProcessPoolExecutor

# For more than a hundred executors, of which each starts two processes.
SECONDS = 600 if SPAWNED else 60

# The collector runs at the k-th allocation from a given moment on, so all places in `submit` and what
# follows it are reached one after the other, in whichever thread they are.
EVERYWHERE = """
    import faulthandler, gc, sys, tasks
    from concurrent.futures import CancelledError
    from bounded_executor import BoundedProcessPoolExecutor

    faulthandler.dump_traceback_later(int(sys.argv[3]), exit=True)
    wait, cancel = sys.argv[1] == "wait", sys.argv[2] == "cancel"
    threads = set()

    class Ender:
        def __init__(self, ex):
            self.ex = ex
            self.me = self

        def __del__(self):
            import threading
            threads.add(threading.current_thread().name)
            self.ex.shutdown(wait, cancel_futures=cancel)

    # With a threshold of one all that there is is looked at, again and again. It cannot go anyway.
    gc.collect()
    gc.freeze()
    refused = 0
    for number in range(1, 120):
        ex = BoundedProcessPoolExecutor(1, queue_size=2)
        futures = [ex.submit(tasks.double, 1)]
        futures[0].result()
        gc.collect()
        Ender(ex)
        gc.set_threshold(number)
        try:
            futures.append(ex.submit(tasks.double, 2))
            futures += [ex.submit(tasks.double, n) for n in range(3)]
            assert list(ex.map(tasks.double, range(2))) == [0, 2]
        except RuntimeError as error:
            assert str(error) == "cannot schedule new futures after shutdown", error
            refused += 1
        except BaseException as error:
            assert cancel and type(error).__name__ == "CancelledError", error
        finally:
            gc.set_threshold(700, 10, 10)
        gc.collect()
        for future in futures:
            try:
                assert future.result() is not None
            except CancelledError:
                assert cancel and future.cancelled()
        ex.shutdown()
        assert not ex.stats().unfinished, ex.stats()
    print(refused > 20, "MainThread" in threads)
"""


@pytest.mark.parametrize(
    ("wait", "cancel"),
    [
        ("wait", "finish"),
        ("leave", "cancel"),
        pytest.param("wait", "cancel", marks=pytest.mark.slow),
        pytest.param("leave", "finish", marks=pytest.mark.slow),
    ],
)
def test_a_del_may_shut_the_executor_down_anywhere(wait: str, cancel: str) -> None:
    assert run_script(EVERYWHERE, wait, cancel, SECONDS, seconds=SECONDS + 40) == "True True\n"


def test_a_del_may_shut_it_down_on_the_thread_of_a_callback() -> None:
    ended = threading.Event()

    class Ender:
        def __del__(self) -> None:
            ex.shutdown(wait=True)
            ended.set()

    with BoundedProcessPoolExecutor(1) as ex:
        ender = Ender()
        future = ex.submit(tasks.double, 21)
        future.add_done_callback(lambda _, held=[ender]: held.clear())  # type: ignore[misc]
        del ender
        assert ended.wait(PATIENCE)
        assert future.result(PATIENCE) == 42
    gc.collect()

"""A copy of the program, made by ``os.fork`` beside threads that start or end pools, has pools that work."""

from __future__ import annotations

import pytest
from helpers import run_script

HEAD = """
    import os, signal, sys, threading, time, warnings
    from multiprocessing import get_context, resource_tracker

    import loky.process_executor
    from bounded_executor import BoundedProcessPoolExecutor

    # Of Python 3.12 and later, which is right about programs that do not know what they do.
    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)

    def keeper_of(executor):
        pid = executor.submit(os.getppid).result()
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])

    def is_in(thread, *functions):
        names = []
        frame = sys._current_frames().get(thread.ident)
        while frame is not None:
            names.append(frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name)
            frame = frame.f_back
        return all(any(name.endswith(function) for name in names) for function in functions)

    def wait_until(condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.003)

    def use_a_pool():
        with BoundedProcessPoolExecutor(1, idle_timeout=0) as executor:
            assert executor.submit(abs, -1).result() == 1

    def await_copy(pid):
        deadline = time.monotonic() + 30
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                raise AssertionError("the copy hangs")
            time.sleep(0.01)

    def copy(leaves):
        pid = os.fork()
        if pid:
            return await_copy(pid)
        use_a_pool()
        if leaves == "at once":
            os._exit(0)
        sys.exit()
"""


@pytest.mark.parametrize("leaves", ["at once", "as a program does"])
def test_beside_a_thread_that_ends_a_pool(leaves: str) -> None:
    code = """
    executor = BoundedProcessPoolExecutor(1, idle_timeout=0)
    keeper = keeper_of(executor)
    # So that its end takes as long as we like.
    os.kill(keeper, signal.SIGSTOP)
    ending = threading.Thread(target=executor.shutdown)
    ending.start()

    def is_waited_for():
        return any(is_in(thread, "shutdown", "join", "_own") for thread in threading.enumerate())

    wait_until(is_waited_for)
    copy(sys.argv[1])
    os.kill(keeper, signal.SIGCONT)
    ending.join()
    """
    run_script(HEAD + code, leaves)


def test_beside_a_thread_that_starts_a_tracker() -> None:
    code = """
    use_a_pool()
    started = threading.Event()
    go_on = threading.Event()
    tracker = resource_tracker._resource_tracker

    def start_a_tracker():
        with tracker._lock:
            started.set()
            go_on.wait()

    thread = threading.Thread(target=start_a_tracker)
    thread.start()
    started.wait()
    copy("at once")
    go_on.set()
    thread.join()
    """
    run_script(HEAD + code)


def test_a_copy_ends_in_silence_beside_a_warm_process() -> None:
    """It is no child of the copy, which has nothing to wait for."""
    code = """
    with BoundedProcessPoolExecutor(1) as executor:
        assert executor.submit(abs, -1).result() == 1
    pid = os.fork()
    if not pid:
        sys.exit()
    await_copy(pid)
    """
    run_script(HEAD + code)

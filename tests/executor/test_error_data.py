"""What a task's error knows of the process that died or was ended, and of the call."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import tasks
from helpers import PATIENCE, run_script, script_environment, status, wait_until

from bounded_executor import BoundedExecutor, BoundedProcessPoolExecutor, TaskTimeout, TerminatedWorkerError
from bounded_executor._core.arguments import PICKLE_BYTES, TEXT_CHARACTERS

NAMES = (
    "pid",
    "signal",
    "exit_status",
    "peak_memory_bytes",
    "oom_killed",
    "task_name",
    "attempts",
    "stack",
    "arguments",
)


def crash(ex: BoundedExecutor, fn: Callable[..., object], *args: Any, **kwargs: Any) -> TerminatedWorkerError:
    error = ex.submit(fn, *args, **kwargs).exception(PATIENCE)
    assert isinstance(error, TerminatedWorkerError), error
    return error


def note_and_die(path: str, number: int) -> None:
    tasks.note(path, tasks.pid())
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_process_that_a_signal_ended(number: signal.Signals, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        error = crash(ex, note_and_die, log, int(number))
    assert [str(error.pid)] == tasks.notes(log)
    assert (error.signal, error.exit_status) == (number, None)
    assert error.task_name == f"{__name__}.note_and_die"
    assert error.attempts == 1
    assert error.peak_memory_bytes is not None and 2**20 < error.peak_memory_bytes < 2**34
    # A machine whose kernel kills another process for want of memory in this moment says True.
    assert error.oom_killed in ((None, False) if number == signal.SIGKILL else (False,))
    assert error.stack is None
    assert error.arguments == f"({log!r}, {int(number)})" if len(log) <= 60 else "..." in str(error.arguments)


@pytest.mark.parametrize("code", [0, 7])
def test_a_process_that_left_by_itself(code: int) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        error = crash(ex, os._exit, code)
    assert (error.signal, error.exit_status, error.oom_killed) == (None, code, False)
    assert error.task_name == "posix._exit"


def test_each_item_of_a_map_and_each_try() -> None:
    with BoundedProcessPoolExecutor(1, task_retries=2) as ex:
        results = ex.map(tasks.kill_if, range(10), [3] * 10, chunksize=5)
        with pytest.raises(TerminatedWorkerError) as caught:
            list(results)
    assert caught.value.arguments == "(3, 3)"
    assert caught.value.attempts == 3


def test_a_task_that_took_too_long() -> None:
    with BoundedProcessPoolExecutor(1, task_timeout=0.5) as ex:
        future = ex.submit(time.sleep, 100)
        error = future.exception(PATIENCE)
    assert isinstance(error, TaskTimeout)
    assert error.task_name == "time.sleep"
    assert (error.arguments, error.attempts) == ("(100)", 1) == (error.arguments, future.attempts)
    assert error.signal and error.pid and error.peak_memory_bytes
    assert error.stack and error.stack in str(error)


def test_a_task_whose_supervisor_died(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        future = ex.submit(note_and_sleep, log)
        wait_until(lambda: tasks.notes(log))
        child = int(tasks.notes(log)[0])
        os.kill(status(child)[1], signal.SIGKILL)
        error = future.exception(PATIENCE)
    assert isinstance(error, TerminatedWorkerError)
    assert (error.pid, error.attempts, error.task_name) == (child, 1, f"{__name__}.note_and_sleep")
    # Nothing was there any more to say how it ended.
    assert (error.signal, error.exit_status, error.oom_killed) == (None, None, None)


def note_and_sleep(path: str) -> None:
    tasks.note(path, tasks.pid())
    time.sleep(100)


def test_over_another_executor_it_is_about_the_task_and_not_its_carrier() -> None:
    with BoundedProcessPoolExecutor(1) as below, BoundedExecutor(below) as ex:
        error = crash(ex, tasks.hard_exit, 3)
    assert (error.task_name, error.arguments, error.exit_status) == ("tasks.hard_exit", "(3)", 3)


def full(kind: type[Any]) -> Any:
    values = (4, 9, None, 2**40, True, "module.name", 2, 'File "x"', "(1)")
    error = kind("what happened", **dict(zip(NAMES, values, strict=True)))
    error.__cause__ = LookupError("the cause")
    return error


def through_a_worker(error: BaseException) -> BaseException:
    with BoundedProcessPoolExecutor(1) as ex:
        found = ex.submit(raise_it, error).exception(PATIENCE)
    assert found is not None
    return found


def raise_it(error: BaseException) -> None:
    raise error


def through_multiprocessing(error: BaseException) -> BaseException:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(tasks.give, (error,))


WAYS = [
    *(lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol)) for protocol in range(6)),
    copy.copy,
    copy.deepcopy,
    through_a_worker,
    through_multiprocessing,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [TerminatedWorkerError, TaskTimeout])
def test_they_survive_pickling_and_copying(kind: type[Any], way: Callable[[Any], Any]) -> None:
    error = full(kind)
    found = way(error)
    assert found is not error
    assert type(found) is kind
    assert str(found) == "what happened"
    assert found.args == error.args
    assert [getattr(found, name) for name in NAMES] == [getattr(error, name) for name in NAMES]


@pytest.mark.parametrize("kind", [TerminatedWorkerError, TaskTimeout])
def test_they_can_be_made_with_a_message_alone(kind: type[Any]) -> None:
    assert [getattr(kind("of a test"), name) for name in NAMES] == [None] * len(NAMES)
    assert str(kind("of a test")) == "of a test"


# The text of the arguments


class Colour(Enum):
    RED = 1


@dataclass
class Job:
    url: str
    size: int = 0


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self) -> None:
        self.a = self.b = 1


class Hostile:
    """Its own code would be noticed."""

    def __repr__(self) -> str:
        threading.Event().wait(1000)
        raise RuntimeError("of the text")

    def __hash__(self) -> int:
        return end_program() or 1

    __eq__ = object.__eq__

    def __setstate__(self, state: object) -> None:
        end_program()


def end_program() -> None:
    """End this process if it is not a worker, on the threads that unpickle things there."""
    if multiprocessing.parent_process() is None and threading.current_thread() is not threading.main_thread():
        os._exit(9)


def die(*args: object, **kwargs: object) -> None:
    tasks.kill_self()


def huge() -> object:
    one: Any = "x" * 100
    for _ in range(8):
        one = [one] * 8
    return one


def deep() -> object:
    one: Any = 1
    for _ in range(300):
        one = [one]
    return one


ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((), {}, "()"),
    ((1, 2.5, "a", b"b", None, True), {}, "(1, 2.5, 'a', b'b', None, True)"),
    ((5,), {"key": [1], "n": {"a": 1}}, "(5, key=[1], n={'a': 1})"),
    ((Job("http://x", 3), Colour.RED), {}, "(Job(url='http://x', size=3), Colour(1))"),
    ((Path("/a/b"), datetime(2020, 1, 2, tzinfo=timezone.utc)), {}, "(PosixPath('/a/b'), datetime.datetime("),
    ((Slotted(),), {}, "(Slotted(a=1, b=1))"),
    ((Hostile(), {Hostile(): 1}), {}, "(Hostile(), {Hostile(): 1})"),
    ((lambda: 5, tasks.double, int), {}, "(<by value>, double, int)"),
    ((list(range(1000)),), {}, "([0, 1, 2, 3, 4, 5, ...])"),
    ((1 << 10_000,), {}, "(<10001 bits>)"),
    (("x" * 100_000,), {}, " bytes)"),
    ((huge(), deep()), {}, "([[[[...]"),
]


@pytest.mark.parametrize(("args", "kwargs", "text"), ARGUMENTS, ids=[text for _, _, text in ARGUMENTS])
def test_the_text_of_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], text: str) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        found = crash(ex, die, *args, **kwargs).arguments
    assert found is not None
    assert text in found
    assert len(found) <= TEXT_CHARACTERS


def test_large_buffers_are_no_part_of_the_text() -> None:
    numpy = pytest.importorskip("numpy")
    with BoundedProcessPoolExecutor(1) as ex:
        found = crash(ex, die, 7, numpy.zeros(PICKLE_BYTES), end=1).arguments
    assert found is not None
    assert found.startswith("(7, _frombuffer(") and "float" not in found[TEXT_CHARACTERS:]
    assert len(found) <= TEXT_CHARACTERS


def test_the_message_is_without_the_arguments() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        error = crash(ex, die, "a secret")
    assert "secret" not in str(error)
    assert error.arguments == "('a secret')"


def test_objects_of_the_main_script_have_their_names(tmp_path: Path) -> None:
    code = """
        import os
        from bounded_executor import BoundedProcessPoolExecutor

        class Job:
            def __init__(self, number):
                self.number = number

        def die(*args):
            os._exit(3)

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1) as ex:
                print(ex.submit(die, Job(5), Job, die).exception().arguments)
    """
    assert run_script(code, quiet=False) == "(<main>(number=5), <main>, <main>)\n"
    (script := tmp_path / "script.py").write_text(textwrap.dedent(code))
    out = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        env=script_environment(),
        timeout=60,
        text=True,
        check=True,
    )
    assert out.stdout == "(Job(number=5), Job, die)\n"


def test_a_task_in_a_thread_keeps_its_own_error() -> None:
    with ThreadPoolExecutor(1) as below, BoundedExecutor(below) as ex:
        own = full(TerminatedWorkerError)
        assert ex.submit(raise_it, own).exception(PATIENCE) is own
    assert own.arguments == "(1)"


def test_in_the_portable_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOUNDED_EXECUTOR_PORTABLE", "1")
    with BoundedProcessPoolExecutor(1) as ex:
        killed = crash(ex, tasks.kill_self, int(signal.SIGTERM))
        left = crash(ex, tasks.hard_exit, 3)
        with pytest.raises(TerminatedWorkerError) as caught:
            list(ex.map(tasks.kill_if, range(4), [2] * 4, chunksize=4))
    assert (killed.signal, killed.exit_status, killed.arguments) == (signal.SIGTERM, None, "(15)")
    assert (left.signal, left.exit_status, left.task_name) == (None, 3, "tasks.hard_exit")
    # Which of those that travelled together had been done is not known: all of them fail.
    assert (caught.value.arguments, caught.value.signal) == ("(0, 2)", signal.SIGKILL)
    assert killed.pid and left.pid and caught.value.pid

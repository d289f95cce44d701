"""An executor that starts: one that cannot, one that others use or end meanwhile, one that is interrupted."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bad_tasks
import pytest
import tasks
from helpers import (
    PATIENCE,
    marked_processes,
    refuses,
    run_script,
    script_environment,
    start_script,
    wait_until,
)
from platforms import needs_proc

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool
from bounded_executor._core import callbacks
from bounded_executor._memory import proc
from bounded_executor._pool import forkserver

# It cannot start: it is broken, says why, and holds nothing.


@pytest.mark.parametrize("started", [0, 1, 2])
def test_threads_cannot_be_had(started: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A warm keeper would need no thread.
    forkserver.close_idle()
    start = threading.Thread.start
    left = started

    def start_some(thread: threading.Thread) -> None:
        nonlocal left
        if thread.name.startswith("bounded"):
            if left == 0:
                raise RuntimeError("can't create new thread at interpreter shutdown")
            left -= 1
        start(thread)

    ex = BoundedProcessPoolExecutor(2, idle_timeout=0)
    calls: list[Any] = [lambda: ex.submit(tasks.give, 1), lambda: ex.map(tasks.give, range(3))]
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_some)
        with pytest.raises(BrokenProcessPool, match="could not be started") as caught:
            calls[0]()
    assert type(caught.value.__cause__) is RuntimeError
    for call in calls:
        with pytest.raises(BrokenProcessPool, match="could not be started"):
            call()
    ex.shutdown()


# Others come while one thread starts it.


class Held:
    """The first thread that starts an executor, held in the middle of it by standing in for a step."""

    def __init__(self, step: Callable[..., None]) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self._step = step

    def __call__(self, *args: Any) -> None:
        self.reached.set()
        assert self.go_on.wait(PATIENCE)
        self._step(*args)


@pytest.fixture
def held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    owner, name = getattr(request, "param", BEFORE_THE_THREAD)
    one = Held(getattr(owner, name))
    monkeypatch.setattr(owner, name, lambda *args: one(*args))
    yield one
    one.go_on.set()


# Before anybody can tell that it has been started, and when all can, but nothing can be woken yet.
BEFORE_IT_COUNTS = (callbacks.Delivery, "start")
BEFORE_THE_THREAD = (forkserver, "at_exit")


def test_a_task_that_others_submit_during_the_start_is_run(held: Held) -> None:
    """What wakes the executor's thread comes before there is one."""
    results: list[int] = []
    with BoundedProcessPoolExecutor(1) as ex:
        starting = threading.Thread(target=ex.submit, args=(tasks.give,))
        starting.start()
        assert held.reached.wait(PATIENCE)
        futures = [ex.submit(tasks.double, number) for number in range(3)]
        held.go_on.set()
        starting.join(PATIENCE)
        results = [future.result(PATIENCE) for future in futures]
    assert results == [0, 2, 4]


@pytest.mark.parametrize("held", [BEFORE_IT_COUNTS, BEFORE_THE_THREAD], indirect=True, ids=["early", "late"])
@pytest.mark.parametrize("wait", [False, True], ids=["leave", "wait"])
def test_a_shutdown_during_the_start_ends_what_is_started(held: Held, wait: bool) -> None:
    errors: list[BaseException] = []
    ex = BoundedProcessPoolExecutor(1, idle_timeout=0)

    def start() -> None:
        try:
            ex.submit(tasks.give)
        except BaseException as error:
            errors.append(error)

    starting = threading.Thread(target=start)
    ending = threading.Thread(target=ex.shutdown, args=(wait,))
    starting.start()
    assert held.reached.wait(PATIENCE)
    ending.start()
    wait_until(lambda: refuses(ex), "the shutdown")
    # One that waits has nothing to do now but that; a wrong one gets through in no time.
    ending.join(0.3 if wait else PATIENCE)
    assert ending.is_alive() is wait
    held.go_on.set()
    for thread in (starting, ending):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    # That nothing is left is seen to after each test.
    assert [str(error) for error in errors] == ["cannot schedule new futures after shutdown"]


# It lacks something for a while.


@pytest.mark.parametrize("limits", ["{}", "{'task_timeout': 100}"], ids=["plain", "timed"])
def test_no_descriptor_is_left_for_one_more_process(tmp_path: Path, limits: str) -> None:
    """What runs goes on, and so does the start as soon as there are some again."""
    code = f"""
        import logging, os, resource, sys, tasks, threading, time
        from bounded_executor import BoundedProcessPoolExecutor

        failed = threading.Event()
        handler = logging.Handler()
        handler.emit = lambda record: failed.set() if "could not be started" in record.msg else None
        logging.getLogger("bounded_executor").addHandler(handler)

        with BoundedProcessPoolExecutor(2, **{limits}) as ex:
            assert ex.submit(tasks.give, 1).result() == 1
            held = ex.submit(tasks.await_file, sys.argv[1])
            while not held.running():
                time.sleep(0.003)
            resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            taken = []
            try:
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                # The first thing that a new process needs can be had, and the next cannot.
                for _ in range(int(sys.argv[2])):
                    os.close(taken.pop())
            other = ex.submit(tasks.give, 2)
            assert failed.wait(30)
            for fd in taken:
                os.close(fd)
            assert other.result(30) == 2
            assert not held.done()
            open(sys.argv[1], "w").close()
            held.result(30)
        print(ex.stats().supervisors_lost, ex.stats().children_crashed)
    """
    assert run_script(code, tmp_path / "go", 2 if "timeout" in limits else 1, seconds=40).split() == [
        "0",
        "0",
    ]


# Descriptors in initargs.


@pytest.mark.parametrize("count", [64, 250])
def test_many_descriptors_reach_the_initializer(count: int) -> None:
    read, write = os.pipe()
    inherited = tuple(bad_tasks.Inherited(write) for _ in range(count))
    with BoundedProcessPoolExecutor(1, initializer=tasks.initialize, initargs=inherited) as ex:
        assert ex.submit(bad_tasks.write_to_all_inherited).result(PATIENCE) == count
    os.close(write)
    assert len(os.read(read, 1000)) == count
    os.close(read)


def test_more_descriptors_than_can_be_sent_at_once_are_refused() -> None:
    inherited = tuple(bad_tasks.Inherited(1) for _ in range(251))
    with pytest.raises(ValueError, match="250 file descriptors at most, got 251"):
        BoundedProcessPoolExecutor(1, initializer=tasks.initialize, initargs=inherited)


# It is ended or interrupted before it is through.

HANGING = """
import os, time, tasks
tasks.note({path!r}, os.getpid())
time.sleep(1000)
"""


def test_kill_workers_ends_an_executor_whose_preload_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = str(tmp_path / "log")
    (tmp_path / "hanging_module.py").write_text(HANGING.format(path=log))
    monkeypatch.syspath_prepend(str(tmp_path))
    ex = BoundedProcessPoolExecutor(2, preload=("hanging_module",))
    future = ex.submit(tasks.give)
    wait_until(lambda: tasks.notes(log), "the import has begun")
    ex.kill_workers()
    ending = threading.Thread(target=ex.shutdown)
    ending.start()
    # So much is promised.
    ending.join(10)
    late = ending.is_alive()
    if late:
        os.kill(int(tasks.notes(log)[-1]), signal.SIGKILL)
    assert not late
    assert future.cancelled()


def test_ctrl_c_ends_a_program_whose_preload_hangs(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    log = str(tmp_path / "log")
    (tmp_path / "hanging_module.py").write_text(HANGING.format(path=log))
    code = """
        import sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        sys.path.insert(0, sys.argv[1])
        with BoundedProcessPoolExecutor(2, preload=["hanging_module"]) as ex:
            ex.submit(tasks.give).result()
    """
    with start_script(code, tmp_path, INTERRUPTED=mark) as process:
        try:
            wait_until(lambda: tasks.notes(log), "the import has begun")
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert err.count("Traceback") == 1, err
    assert err.rstrip().endswith("KeyboardInterrupt")
    wait_until(lambda: not marked_processes("INTERRUPTED", mark), "the end of all processes", 5.0)


# Python runs it in every process that starts, before all else. Only loky's is to be slow.
SLOW_START = """
import os, sys, time

if any("bounded-executor-keeper" in word for word in sys.orig_argv):
    folder = os.environ["SLOW_START"]
    open(folder + "/begun", "w").close()
    while not os.path.exists(folder + "/go"):
        time.sleep(0.003)
"""


@pytest.mark.parametrize("ending", ["with", "exit"])
def test_ctrl_c_while_the_keeper_starts(tmp_path: Path, ending: str) -> None:
    """Its process goes on only after all have got the signal."""
    mark = uuid.uuid4().hex
    (tmp_path / "sitecustomize.py").write_text(SLOW_START)
    code = f"""
        import sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        sys.path.remove(sys.argv[1])
        ex = BoundedProcessPoolExecutor(2)
        if {ending == "with"}:
            with ex:
                ex.submit(tasks.nap, 100).result()
        ex.submit(tasks.nap, 100).result()
    """
    path = os.pathsep.join([str(tmp_path), script_environment()["PYTHONPATH"]])
    extra = {"INTERRUPTED": mark, "SLOW_START": str(tmp_path), "PYTHONPATH": path}
    with start_script(code, tmp_path, **extra) as process:
        try:
            wait_until(lambda: (tmp_path / "begun").exists(), "the keeper starts")
            os.killpg(process.pid, signal.SIGINT)
            (tmp_path / "go").touch()
            _, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode in (1, -signal.SIGINT)
    assert err.count("Traceback") == 1, err
    assert err.rstrip().endswith("KeyboardInterrupt")
    wait_until(lambda: not marked_processes("INTERRUPTED", mark), "the end of all processes", 5.0)


@pytest.mark.parametrize(
    "step",
    [
        "_pool.forkserver.at_exit",
        pytest.param("_memory.cgroups.granted", marks=needs_proc),
        "_core.event_loop.Loop.open",
    ],
)
def test_ctrl_c_at_a_step_of_the_start_hangs_nobody(step: str) -> None:
    """The step is where the signal comes; what it interrupts is undone."""
    package, module, name = step.split(".", 2)
    total = "auto" if proc.CAN_MEASURE else None
    code = f"""
        import signal
        from bounded_executor import BoundedProcessPoolExecutor
        from bounded_executor.{package} import {module}

        *owners, name = "{name}".split(".")
        owner = getattr({module}, owners[0]) if owners else {module}
        whole = getattr(owner, name)

        def press(*args):
            setattr(owner, name, whole)
            signal.raise_signal(signal.SIGINT)

        setattr(owner, name, press)
        try:
            with BoundedProcessPoolExecutor(1, max_memory_total={total!r}) as ex:
                ex.submit(abs, 1)
        except KeyboardInterrupt:
            print("interrupted")
        with BoundedProcessPoolExecutor(1) as ex:
            print(ex.submit(abs, -2).result())
    """
    assert run_script(code) == "interrupted\n2\n"


@pytest.mark.parametrize("megabytes", [1, 10])
def test_files_may_not_be_long(megabytes: int) -> None:
    """As with ``ulimit -f``, which holds for shared memory too."""
    code = """
        import resource, sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor

        limit = int(sys.argv[1]) << 20
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with BoundedProcessPoolExecutor(2) as ex:
            print(sum(ex.map(tasks.give, range(100))))
    """
    assert run_script(code, megabytes) == "4950\n"

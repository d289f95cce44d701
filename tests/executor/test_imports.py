"""Modules are imported once per executor: those that the user names, and those that tasks need."""

from __future__ import annotations

import logging
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tasks
from helpers import PATIENCE, SPAWNED, assert_all_free, run_script, wait_until
from platforms import needs_fork

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, TerminatedWorkerError
from bounded_executor._pool import forkserver

MakeModule = Callable[..., tuple[str, str]]

HEAD = """
    import os, sys, threading
    with open({log!r}, "ab") as log:
        log.write(b"x")
"""


@pytest.fixture
def make_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeModule:
    """Make a module that marks a file whenever it is imported, and has the given body."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, body: str = "") -> tuple[str, str]:
        log = str(tmp_path / f"{name}.log")
        source = textwrap.dedent(HEAD.format(log=log)) + textwrap.dedent(body)
        (tmp_path / f"{name}.py").write_text(source)
        # Another test's, from another folder.
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name, log

    return make


# preload


@pytest.mark.parametrize("forked", [True, False])
def test_preloaded_modules_are_there_before_the_first_task(
    make_module: MakeModule, monkeypatch: pytest.MonkeyPatch, forked: bool
) -> None:
    if not forked:
        monkeypatch.setattr("bounded_executor._worker.bootstrap.CAN_FORK", False)
    name, log = make_module("preloaded")
    with BoundedProcessPoolExecutor(
        2, preload=[name, "xml.dom.minidom"], max_tasks_per_child=1, idle_timeout=0
    ) as ex:
        found = [
            future.result(PATIENCE) for future in [ex.submit(tasks.imported, name, log) for _ in range(6)]
        ]
        assert ex.submit(tasks.imported, "xml.dom.minidom", log).result(PATIENCE)[0]
    assert all(there for there, _, _ in found)
    assert len({pid for _, _, pid in found}) == 6
    if forked and not SPAWNED:
        assert tasks.marks(log) == 1


def test_the_initializer_finds_what_is_preloaded(make_module: MakeModule) -> None:
    name, log = make_module("preloaded")

    with BoundedProcessPoolExecutor(1, None, __import__, (name,), preload=(name,)) as ex:
        assert ex.submit(tasks.imported, name, log).result(PATIENCE)[:2] == (True, 1)


def test_preloading_does_not_cross_to_the_next_block(make_module: MakeModule) -> None:
    name, log = make_module("preloaded")
    with BoundedProcessPoolExecutor(1, preload=(name,)) as ex:
        assert ex.submit(tasks.imported, name, log).result(PATIENCE)[0]
    with BoundedProcessPoolExecutor(1) as ex:
        assert not ex.submit(tasks.imported, name, log).result(PATIENCE)[0]


@pytest.mark.parametrize(
    ("body", "cause"), [("raise LookupError('bad')", LookupError), ("sys.exit(3)", SystemExit)]
)
def test_a_preload_that_fails_breaks_the_executor_and_is_the_cause(
    make_module: MakeModule, body: str, cause: type[BaseException]
) -> None:
    name, log = make_module("preloaded", body)
    with BoundedProcessPoolExecutor(2, preload=(name,)) as ex:
        futures = [ex.submit(tasks.double, 1) for _ in range(3)]
        for future in futures:
            with pytest.raises(BrokenProcessPool, match=r"preload=\('preloaded',\)") as caught:
                future.result(PATIENCE)
            assert isinstance(caught.value.__cause__, cause)
    # Where there is no fork each process tries.
    assert 1 <= tasks.marks(log) <= (2 if SPAWNED else 1)


def test_a_preload_that_is_not_there_breaks_the_executor() -> None:
    with BoundedProcessPoolExecutor(1, preload=("no_such_module",)) as ex:
        error = ex.submit(tasks.double, 1).exception(PATIENCE)
    assert isinstance(error, BrokenProcessPool)
    assert isinstance(error.__cause__, ModuleNotFoundError)


def test_a_preload_that_crashes_breaks_the_executor_after_a_few_tries(make_module: MakeModule) -> None:
    name, log = make_module("preloaded", "os.abort()")
    with (
        BoundedProcessPoolExecutor(1, preload=(name,)) as ex,
        pytest.raises(
            BrokenProcessPool,
            match="no worker process comes" if SPAWNED else "supervisor processes in a row",
        ),
    ):
        ex.submit(tasks.double, 1).result(PATIENCE)
    assert tasks.marks(log) == (4 if SPAWNED else 3)


THREAD = """
    stop = threading.Event()
    threading.Thread(target=stop.wait, daemon=True).start()
"""


@needs_fork("each process imports for itself")
def test_a_preload_that_leaves_a_thread_is_not_forked_from(
    make_module: MakeModule, caplog: pytest.LogCaptureFixture
) -> None:
    name, log = make_module("threaded", THREAD)
    with (
        caplog.at_level(logging.INFO, "bounded_executor"),
        BoundedProcessPoolExecutor(2, preload=(name,), max_tasks_per_child=1) as ex,
    ):
        found = [ex.submit(tasks.imported, name, log).result(PATIENCE) for _ in range(4)]
        assert ex.stats().supervisors_lost == 0
        assert_all_free(ex)
    assert all(there for there, _, _ in found)
    assert 204 < tasks.marks(log) <= ex.stats().children_started + 1
    assert [record.getMessage() for record in caplog.records if "threaded" in record.getMessage()] == [
        "these modules are imported by each child for itself, because the supervisor cannot fork safely "
        "after them: threaded leave threads running"
    ]


# What tasks need


def run_from(name: str, log: str, function: str = "work") -> Any:
    """A function of a module, by its name in this process."""
    return getattr(__import__(name), function)


@needs_fork("each process imports for itself")
def test_the_module_of_the_first_function_is_imported_once_for_all_processes(make_module: MakeModule) -> None:
    name, log = make_module("worked", "def work(): return os.getpid()")
    work = run_from(name, log)
    with BoundedProcessPoolExecutor(2, max_tasks_per_child=1) as ex:
        pids = [future.result(PATIENCE) for future in [ex.submit(work) for _ in range(10)]]
    assert len(set(pids)) == 10
    assert tasks.marks(log) == 2  # here, and in the supervisor


@needs_fork("each process imports for itself")
def test_modules_that_a_function_by_value_uses_are_imported_once(make_module: MakeModule) -> None:
    name, log = make_module("used", "def work(): return os.getpid()")
    script = f"""
        import sys
        sys.path.insert(0, {os.path.dirname(log)!r})
        import {name}
        from bounded_executor import BoundedProcessPoolExecutor

        def by_value():
            return {name}.work()

        with BoundedProcessPoolExecutor(2, max_tasks_per_child=1) as ex:
            pids = [future.result() for future in [ex.submit(by_value) for _ in range(10)]]
        assert len(set(pids)) == 10
    """
    run_script(script)
    assert tasks.marks(log) == 2


@needs_fork("each process imports for itself")
def test_a_module_that_only_a_task_imports_is_shared_with_later_processes(make_module: MakeModule) -> None:
    name, log = make_module("found", "VALUE = 7")
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
        assert ex.submit(tasks.imported_value, name).result(PATIENCE) == 7
        wait_until(lambda: ex.submit(tasks.imported, name, log).result(PATIENCE)[0], "the module is shared")
        # The task, the trial, the supervisor.
        assert tasks.marks(log) == 3


@pytest.mark.parametrize("end", ["os._exit(3)", "os.abort()"])
def test_a_first_function_whose_module_crashes_elsewhere_fails_its_task_only(
    make_module: MakeModule, end: str
) -> None:
    body = f"""
        if os.getpid() != {os.getpid()}:
            {end}

        def work(): return 1
    """
    name, log = make_module("crashing", body)
    work = run_from(name, log)
    with BoundedProcessPoolExecutor(1) as ex:
        with pytest.raises(TerminatedWorkerError):
            ex.submit(work).result(PATIENCE)
        assert ex.submit(tasks.double, 4).result(PATIENCE) == 8
        assert ex.stats().supervisors_lost == (0 if SPAWNED else 1)
        assert_all_free(ex)


@needs_fork("each process imports for itself")
def test_a_first_function_whose_module_leaves_a_thread_works(
    make_module: MakeModule, caplog: pytest.LogCaptureFixture
) -> None:
    name, log = make_module("threading_module", THREAD + "\n    def work(): return threading.active_count()")
    work = run_from(name, log)
    try:
        with (
            caplog.at_level(logging.INFO, "bounded_executor"),
            BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex,
        ):
            assert [ex.submit(work).result(PATIENCE) for _ in range(3)] == [2] * 3
            assert ex.stats().supervisors_lost == 0
    finally:
        __import__(name).stop.set()
    assert sum("leave threads running" in record.getMessage() for record in caplog.records) == 1


def test_after_an_initializer_every_process_imports_for_itself(make_module: MakeModule) -> None:
    name, log = make_module("initialized", "def work(): return os.getpid()")
    work = run_from(name, log)
    with BoundedProcessPoolExecutor(1, None, tasks.initialize, (), max_tasks_per_child=1) as ex:
        assert len({ex.submit(work).result(PATIENCE) for _ in range(3)}) == 3
    assert tasks.marks(log) == 4


def test_a_file_that_a_shared_module_keeps_open_stays_usable(make_module: MakeModule) -> None:
    name, log = make_module(
        "with_file", "file = open(__file__)\ndef work(): return file.fileno(), file.read(5)"
    )
    work = run_from(name, log)
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
        assert ex.submit(work).result(PATIENCE)[1] == "\nimpo"[:5]
    __import__(name).file.close()


@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "signal.SIG_DFL", "lambda *_: None"])
def test_a_module_that_changes_how_signals_are_handled(make_module: MakeModule, handler: str) -> None:
    body = f"""
        import signal
        if os.getpid() != {os.getpid()}:
            signal.signal(signal.SIGCHLD, {handler})
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.default_int_handler)

        def work(): return os.getpid()
    """
    name, log = make_module("signalling", body)
    work = run_from(name, log)
    with BoundedProcessPoolExecutor(2, max_tasks_per_child=1) as ex:
        pids = [future.result(PATIENCE) for future in [ex.submit(work) for _ in range(6)]]
        assert len(set(pids)) == 6
        with pytest.raises(TerminatedWorkerError):
            ex.submit(tasks.kill_self).result(PATIENCE)
        wait_until(lambda: ex.stats().children <= 2)
        assert_all_free(ex)


# The start method


def test_fork_is_taken_as_the_default_with_one_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkserver, "_told_of_fork", False)
    for _ in range(2):
        with BoundedProcessPoolExecutor(1, "fork") as ex:
            assert ex.submit(tasks.double, 2).result(PATIENCE) == 4
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "mp_context='fork' is taken as the default" in messages[0]


def test_the_users_own_forkserver_stays_as_it_is() -> None:
    run_script("""
        import multiprocessing, tasks
        from multiprocessing import forkserver
        from bounded_executor import BoundedProcessPoolExecutor

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["xml.dom.minidom"])
        preload = list(forkserver._forkserver._preload_modules)
        with BoundedProcessPoolExecutor(2, preload=("email.mime.text",)) as ex:
            assert ex.submit(tasks.double, 2).result() == 4
        assert forkserver._forkserver._preload_modules == preload
        assert forkserver._forkserver._forkserver_pid is None, "it was not started either"
        with context.Pool(1) as pool:
            assert pool.apply(tasks.double, (2,)) == 4
            assert pool.apply(tasks.has_module, ("xml.dom.minidom",))
            assert not pool.apply(tasks.has_module, ("email.mime.text",))
        pool.join()
    """)

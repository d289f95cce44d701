"""Warm processes between ``with`` blocks, and what must not cross from one to the other."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tasks
from helpers import PATIENCE, run_script, wait_until

from bounded_executor import BoundedProcessPoolExecutor

VARIABLE = "BOUNDED_EXECUTOR_TEST_VARIABLE"


def surroundings(**options: Any) -> dict[str, Any]:
    """What a task of a fresh executor sees."""
    with BoundedProcessPoolExecutor(1, **options) as ex:
        return ex.submit(tasks.surroundings, VARIABLE).result(PATIENCE)


def ancestors(ex: BoundedProcessPoolExecutor) -> list[int]:
    """Process ids from a task's own up to the child of this process."""
    return ex.submit(tasks.ancestors, os.getpid()).result(PATIENCE)


def test_the_next_block_takes_over_the_warm_process() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        first = ancestors(ex)
    with BoundedProcessPoolExecutor(2) as ex:
        second = ancestors(ex)
    assert first[-1] == second[-1]
    assert not set(first[:-1]) & set(second[:-1])


def test_no_idle_time_leaves_no_process() -> None:
    with BoundedProcessPoolExecutor(1, idle_timeout=0) as ex:
        chain = ancestors(ex)
    assert not [pid for pid in chain if os.path.exists(f"/proc/{pid}")]


def test_a_short_idle_time_ends_the_warm_process_by_itself() -> None:
    with BoundedProcessPoolExecutor(1, idle_timeout=0.05) as ex:
        keeper = ancestors(ex)[-1]
    wait_until(lambda: not os.path.exists(f"/proc/{keeper}"), "the end of the keeper")


def test_an_open_executor_does_not_drop_its_processes() -> None:
    with BoundedProcessPoolExecutor(1, None, tasks.initialize, (1,), idle_timeout=0.01) as ex:
        first = ex.submit(tasks.identity).result(PATIENCE)
        threading.Event().wait(0.1)
        assert ex.submit(tasks.identity).result(PATIENCE) == first


def test_nothing_a_task_did_crosses_to_the_next_block(tmp_path: Path) -> None:
    clean = surroundings()
    with BoundedProcessPoolExecutor(1) as ex:
        ex.submit(tasks.spoil, VARIABLE, str(tmp_path)).result(PATIENCE)
        assert ex.submit(tasks.surroundings, VARIABLE).result(PATIENCE)["variable"] == "spoiled"
    assert surroundings() == clean


def test_nothing_a_task_did_crosses_to_its_replacement(tmp_path: Path) -> None:
    clean = surroundings()
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
        ex.submit(tasks.spoil, VARIABLE, str(tmp_path)).result(PATIENCE)
        assert ex.submit(tasks.surroundings, VARIABLE).result(PATIENCE) == clean


def test_nothing_an_initializer_did_crosses_to_the_next_block(tmp_path: Path) -> None:
    clean = surroundings()
    spoiled = surroundings(initializer=tasks.spoil, initargs=(VARIABLE, str(tmp_path)))
    assert spoiled["state"] == {"spoiled": True}
    assert surroundings() == clean


def test_children_see_the_parent_as_it_is_when_the_block_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings()
    mask = os.umask(0o027)
    try:
        monkeypatch.setenv(VARIABLE, "mine")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path / "modules"))
        seen = surroundings()
    finally:
        os.umask(mask)
    assert seen["variable"] == "mine"
    assert seen["directory"] == os.path.realpath(tmp_path)
    assert seen["path"][0] == str(tmp_path / "modules")
    assert seen["umask"] == 0o027
    monkeypatch.undo()
    seen = surroundings()
    assert seen["variable"] is None
    assert seen["directory"] == os.getcwd()
    assert seen["path"] == sys.path
    assert seen["umask"] == mask


def test_a_module_is_imported_anew_in_the_next_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "module_that_changes.py"
    for value in ("1", "22", "333"):
        module.write_text(f"VALUE = {value}\n")
        with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
            for _ in range(3):
                got = ex.submit(tasks.imported_value, module.stem).result(PATIENCE)
                assert got == int(value)


def test_two_open_executors_share_no_process() -> None:
    with BoundedProcessPoolExecutor(2) as first, BoundedProcessPoolExecutor(2) as second:
        chains = [set(ancestors(first)), set(ancestors(second))]
        assert not chains[0] & chains[1]
        assert set(ancestors(first)) & chains[0]


def test_executors_in_threads_share_no_process() -> None:
    together = threading.Barrier(4)

    def use(number: int) -> set[int]:
        with BoundedProcessPoolExecutor(1) as ex:
            together.wait(PATIENCE)
            pids = set(ancestors(ex))
            assert list(ex.map(tasks.double, range(20))) == list(range(0, 40, 2))
            together.wait(PATIENCE)
            return pids

    with ThreadPoolExecutor(4) as threads:
        chains = list(threads.map(use, range(4)))
    assert sum(map(len, chains)) == len(set.union(*chains))


def test_many_blocks_one_after_the_other() -> None:
    keepers = set()
    for number in range(20):
        with BoundedProcessPoolExecutor(1) as ex:
            keepers.add(ancestors(ex)[-1])
            assert ex.submit(tasks.double, number).result(PATIENCE) == 2 * number
    assert len(keepers) == 1


def test_a_task_that_used_an_executor_itself_comes_to_its_own_end(tmp_path: Path) -> None:
    """Its warm process is ended before it is joined; otherwise the task's process is killed in the end."""
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        assert len(ex.submit(tasks.nest_and_mark_the_end, log).result(PATIENCE)) == 2
    assert tasks.marks(log) == 1


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "open"])
def test_a_program_that_had_two_executors_at_once_does_not_wait_for_idle_processes(ended: bool) -> None:
    # It would be stopped long before they had been idle for so long.
    end = "first.shutdown(), second.shutdown()" if ended else "pass"
    run_script(
        f"""
        from bounded_executor import BoundedProcessPoolExecutor

        if __name__ == "__main__":
            first = BoundedProcessPoolExecutor(1, idle_timeout=600)
            second = BoundedProcessPoolExecutor(1, idle_timeout=600)
            assert first.submit(abs, -1).result() == second.submit(abs, -2).result() - 1
            {end}
        """,
        seconds=60,
    )

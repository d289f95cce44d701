"""What a worker is to libraries that ask: its names, measured coverage, import finders, patched threads."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from multiprocessing import current_process, parent_process
from pathlib import Path

import pytest
from helpers import PATIENCE, run_script, script_environment

import bounded_executor._worker.bootstrap
from bounded_executor import BoundedProcessPoolExecutor


def ask() -> tuple[str, bool, bool]:
    parent = parent_process()
    assert parent is not None
    return current_process().name, parent.pid == os.getppid(), parent.is_alive()


@pytest.mark.parametrize("forked", [True, False])
def test_each_worker_of_a_program_has_a_name_and_a_parent(
    monkeypatch: pytest.MonkeyPatch, forked: bool
) -> None:
    monkeypatch.setattr(bounded_executor._worker.bootstrap, "CAN_FORK", forked)
    with (
        BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as first,
        BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as second,
    ):
        found = [ex.submit(ask).result(PATIENCE) for ex in (first, second) for _ in range(3)]
    assert len({name for name, _, _ in found}) == 6
    assert all(is_parent and is_alive for _, is_parent, is_alive in found)


MEASURED = """
from bounded_executor import BoundedProcessPoolExecutor


def work(number):
    doubled = 2 * number
    return doubled


if __name__ == "__main__":
    with BoundedProcessPoolExecutor(2, max_tasks_per_child=2) as executor:
        assert sum(executor.map(work, range(6))) == 30
"""


@pytest.mark.parametrize(
    "settings", ["patch = subprocess, fork, _exit", "concurrency = multiprocessing\npatch = subprocess"]
)
def test_code_that_runs_in_workers_is_measured_by_coverage(tmp_path: Path, settings: str) -> None:
    coverage = pytest.importorskip("coverage")
    if coverage.version_info < (7, 11):
        pytest.skip("coverage is too old for these settings")
    (tmp_path / "measured.py").write_text(MEASURED)
    (tmp_path / ".coveragerc").write_text(f"[run]\nparallel = true\nsource = .\n{settings}\n")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *arguments],
            cwd=tmp_path,
            env=script_environment(),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("run", "measured.py")
    run("combine")
    assert "100%" in run("report", "--include=measured.py").splitlines()[-1]


FINDER = """
    import importlib.abc, importlib.util, sys
    from bounded_executor import BoundedProcessPoolExecutor

    class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, name, path, target=None):
            return importlib.util.spec_from_loader(name, self) if name == "made" else None

        def exec_module(self, module):
            exec("def work(number): return 2 * number", vars(module))

    def install():
        sys.meta_path.append(Finder())

    install()
    import made
"""


def test_a_finder_that_the_initializer_installs_finds_modules_for_workers() -> None:
    code = """
    with BoundedProcessPoolExecutor(1, None, install) as executor:
        print(executor.submit(made.work, 4).result(), *executor.map(made.work, range(3)))
    """
    assert run_script(FINDER + code) == "8 0 2 4\n"


def test_a_finder_that_only_the_program_has_is_named_by_the_error() -> None:
    code = """
    with BoundedProcessPoolExecutor(1) as executor:
        error = executor.submit(made.work, 4).exception()
        print(type(error).__name__, error)
        print(executor.submit(abs, -1).result())
    """
    assert run_script(FINDER + code) == "ModuleNotFoundError No module named 'made'\n1\n"


def test_threads_that_gevent_has_patched_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkey = types.ModuleType("gevent.monkey")
    patched = {"threading"}
    monkey.is_module_patched = patched.__contains__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    with pytest.raises(RuntimeError, match="gevent has patched threading"):
        BoundedProcessPoolExecutor(1)
    patched.clear()
    with BoundedProcessPoolExecutor(1) as executor:
        assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_over_the_standard_library_s_pool_gevent_works() -> None:
    pytest.importorskip("gevent")
    run_script(
        """
        from gevent import monkey
        monkey.patch_all()
        from concurrent.futures import ProcessPoolExecutor
        from bounded_executor import BoundedExecutor

        if __name__ == "__main__":
            with ProcessPoolExecutor(2) as pool, BoundedExecutor(pool, queue_size=3) as executor:
                assert [executor.submit(abs, -n).result() for n in range(10)] == list(range(10))
                assert list(executor.map(abs, range(4))) == list(range(4))
        """,
        quiet=False,
    )

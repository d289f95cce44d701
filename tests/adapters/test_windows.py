"""What can be tried of Windows elsewhere: the package finds nothing there that Windows lacks.

The programs below run in processes of their own. There and in their workers every module of the package sees
the names of Windows only (``as_windows``). The standard library and loky see the real system.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from helpers import SUPPORT, script_environment

PACKAGE = "bounded_executor"

PROGRAM = """
    import sys

    import bounded_executor
    from bounded_executor import BoundedProcessPoolExecutor, TerminatedWorkerError

    calls = 0

    def double(value):
        return 2 * value

    def count():
        global calls
        calls += 1
        return calls

    def die():
        import os
        os._exit(3)

    def modules():
        return {name for name in sys.modules if name.startswith("bounded_executor.")}

    def main():
        import bounded_executor._options
        assert bounded_executor._options.sys.platform == "win32"
        with BoundedProcessPoolExecutor(2, queue_size=8, max_tasks_per_child=5) as executor:
            assert executor.submit(double, 2).result() == 4
            assert list(executor.map(double, range(20))) == list(range(0, 40, 2))
            assert executor.submit(lambda: "by value").result() == "by value"
            assert isinstance(executor.submit(die).exception(), TerminatedWorkerError)
            assert executor.stats().children_replaced
            loaded = modules() | executor.submit(modules).result()
        with BoundedProcessPoolExecutor(1) as executor:
            assert [executor.submit(count).result() for _ in range(3)] == [1, 2, 3]
        for name in ("_pool.backend", "_pool.forkserver", "_worker.supervisor", "_worker.loop"):
            assert f"bounded_executor.{name}" not in loaded, name
        for name in ("max_memory_hard", "max_memory_per_child", "max_memory_total"):
            try:
                BoundedProcessPoolExecutor(1, **{name: 1 << 30})
            except ValueError as error:
                assert name in str(error)
            else:
                raise AssertionError(name)
        print("done")

    if __name__ == "__main__":
        main()
"""


@pytest.fixture
def as_windows(tmp_path: Path) -> dict[str, str]:
    """The environment of a program that is to see Windows, and its workers with it."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(
        f"import sys\nsys.path.insert(0, {str(SUPPORT)!r})\nimport as_windows\nas_windows.install()\n"
    )
    environment = script_environment()
    environment.pop("BOUNDED_EXECUTOR_PORTABLE", None)
    return {**environment, "PYTHONPATH": f"{hooks}:{environment['PYTHONPATH']}"}


def run(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def test_a_program(tmp_path: Path, as_windows: dict[str, str]) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    assert run(as_windows, tmp_path, "-W", "error", "program.py") == "done\n"


def test_every_module_that_windows_imports(tmp_path: Path, as_windows: dict[str, str]) -> None:
    code = """
        import importlib, pkgutil
        import bounded_executor
        refused = []
        for found in pkgutil.walk_packages(bounded_executor.__path__, "bounded_executor."):
            try:
                if not found.name.endswith(("__main__", "_adapters.dask")):
                    importlib.import_module(found.name)
            except ImportError as error:
                assert "where _adapters.portable takes its place" in str(error), (found.name, error)
                refused.append(found.name)
        assert "bounded_executor._pool.backend" in refused
        assert not {"bounded_executor._adapters.portable", "bounded_executor._cli.job"} & set(refused)
        print("done")
    """
    assert run(as_windows, tmp_path, "-W", "error", "-c", textwrap.dedent(code)) == "done\n"


def test_the_command_line(tmp_path: Path, as_windows: dict[str, str]) -> None:
    (tmp_path / "lines.txt").write_text("1\n2\n3\n")
    written = tmp_path / "written.jsonl"
    run(
        as_windows,
        tmp_path,
        "-m",
        PACKAGE,
        "map",
        "math:sqrt",
        "lines.txt",
        "--json",
        "--output",
        str(written),
    )
    assert [line.partition(", ")[2][:13] for line in written.read_text().splitlines()] == [
        '"result": 1.0',
        '"result": 1.4',
        '"result": 1.7',
    ]

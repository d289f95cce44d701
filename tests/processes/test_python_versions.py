"""What changed from one Python to the next: each must show on the one that has it, and be right on all."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, script_environment

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool
from bounded_executor._future import BoundedFuture
from bounded_executor._serialize.payload import Remote

lazy_imports = pytest.mark.skipif(sys.version_info < (3, 15), reason="`lazy import` is new in Python 3.15")


def run(folder: Path, text: str, *options: str) -> str:
    """Run a script of this text, with warnings as errors, and return what it prints."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(text), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, script],
        capture_output=True,
        cwd=folder,
        encoding="utf-8",
        env=script_environment(),
        stdin=subprocess.DEVNULL,
        timeout=100,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert not done.stderr, done.stderr
    return done.stdout


# Errors


def test_tasks_of_a_script_raise_where_warnings_are_errors(tmp_path: Path) -> None:
    # Python 3.15 warns of frames of an imported main module when it looks for their lines.
    out = run(
        tmp_path,
        """
        import traceback
        import warnings
        from bounded_executor import BoundedProcessPoolExecutor

        try:
            raise LookupError("at the top")
        except LookupError:
            assert "at the top" in traceback.format_exc()
        warnings.simplefilter("error")

        def fail(number):
            raise ValueError(f"number {number}")

        def tell(number):
            try:
                fail(number)
            except ValueError:
                return traceback.format_exc()

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1) as executor:
                error = executor.submit(fail, 1).exception()
                print(type(error).__name__, error, 'line 13, in fail' in str(error.__cause__))
                print("in fail" in executor.submit(tell, 2).result())
        """,
    )
    assert out == "ValueError number 1 True\nTrue\n"


class Loader:
    """A loader that has no sources, and says so in its own way."""

    @property
    def get_source(self) -> Any:
        raise RuntimeError("no sources here")


def fail_in_odd_module() -> None:
    namespace: dict[str, Any] = {"__name__": "odd", "__loader__": Loader()}
    exec(compile("def fail():\n    raise LookupError('odd')", "odd.py", "exec"), namespace)
    namespace["fail"]()


def test_an_error_whose_traceback_cannot_be_printed_fails_its_own_task() -> None:
    with BoundedProcessPoolExecutor(1) as executor:
        pids = [executor.submit(os.getpid).result(PATIENCE)]
        error = executor.submit(fail_in_odd_module).exception(PATIENCE)
        pids.append(executor.submit(os.getpid).result(PATIENCE))
    assert isinstance(error, LookupError)
    assert error.args == ("odd",)
    assert "LookupError: odd" in str(error.__cause__)
    assert pids[0] == pids[1]


def leave(status: int) -> None:
    os._exit(status)


def test_each_future_of_a_broken_executor_has_an_error_of_its_own() -> None:
    with BoundedProcessPoolExecutor(1, on_crash="break", queue_size=20) as executor:
        futures = [executor.submit(leave, 3) for _ in range(10)]
        errors = [future.exception(PATIENCE) for future in futures]
    assert all(isinstance(error, BrokenProcessPool) for error in errors)
    assert len({id(error) for error in errors}) == 10
    lengths = []
    for future in futures:
        with pytest.raises(BrokenProcessPool) as caught:
            future.result(0)
        lengths.append(len(caught.traceback))
    assert len(set(lengths)) == 1


class Lost(Remote):
    """A result that its worker has taken away with it."""

    def fetch(self, seconds: float | None) -> Any:
        raise LookupError("it is gone")


@pytest.mark.skipif(sys.version_info < (3, 15), reason="asyncio asks for the error first before Python 3.15")
def test_a_result_that_is_lost_ends_what_waits_for_it_in_asyncio() -> None:
    async def main() -> None:
        future: BoundedFuture[Any] = BoundedFuture()
        waiting = asyncio.wrap_future(future)
        future.set_result(Lost())
        with pytest.raises(LookupError, match="it is gone"):
            await asyncio.wait_for(waiting, PATIENCE)

    asyncio.run(main())


# Forks


def test_shared_memory_that_a_task_has_made_outlives_its_process(tmp_path: Path) -> None:
    # Since Python 3.14 a process that is forked by `os.fork` lets go of the resource tracker.
    out = run(
        tmp_path,
        """
        import os
        from multiprocessing import get_context, resource_tracker
        from multiprocessing.shared_memory import SharedMemory
        from bounded_executor import BoundedProcessPoolExecutor

        def make():
            memory = SharedMemory(create=True, size=8)
            memory.buf[0] = 42
            memory.close()
            get_context("spawn").Lock()
            return memory.name, os.getpid(), resource_tracker._resource_tracker._pid

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as executor:
                name, pid, started = executor.submit(make).result()
                assert executor.submit(os.getpid).result() != pid
            memory = SharedMemory(name)
            print(memory.buf[0], started)
            memory.close()
            memory.unlink()
        """,
    )
    # The process has started no tracker of its own.
    assert out == "42 None\n"


def test_a_task_may_fork_where_warnings_are_errors(tmp_path: Path) -> None:
    # Python warns of a fork beside threads, since 3.15 by an error where warnings are errors.
    out = run(
        tmp_path,
        """
        import multiprocessing
        import os
        from bounded_executor import BoundedProcessPoolExecutor

        def fork():
            pid = os.fork()
            if not pid:
                os._exit(5)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        def start():
            process = multiprocessing.get_context("fork").Process(target=abs, args=(1,))
            process.start()
            process.join()
            return process.exitcode

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1, forward_logs=True, max_memory_total="auto") as executor:
                print(executor.submit(fork).result(), executor.submit(start).result())
        """,
    )
    assert out == "5 0\n"


THREAD = """
import ctypes

libc = ctypes.CDLL(None)
libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, ctypes.cast(libc.pause, ctypes.c_void_p), None)
"""


def test_a_module_with_a_thread_that_python_does_not_know(tmp_path: Path) -> None:
    # Whether a fork gets rid of such a thread can only be tried, and beside one it is warned of.
    (tmp_path / "threaded.py").write_text(THREAD, encoding="utf-8")
    out = run(
        tmp_path,
        """
        import os
        from bounded_executor import BoundedProcessPoolExecutor

        def name():
            return __name__

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1, preload=["threaded"]) as executor:
                executor.submit(os.getpid).result()
                print(executor.submit(name).result(), executor.stats().supervisors_lost)
        """,
    )
    # The main script is imported all the same.
    assert out == "__mp_main__ 0\n"


# Encodings


@pytest.mark.parametrize("options", [(), ("-X", "utf8=0"), ("-X", "utf8=1")], ids=["default", "off", "on"])
def test_workers_have_the_utf8_mode_of_the_program(options: tuple[str, ...], tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        import sys
        from bounded_executor import BoundedProcessPoolExecutor

        def tell():
            return sys.flags.utf8_mode, open(__file__).encoding.lower()

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1) as executor:
                print(executor.submit(tell).result() == tell())
        """,
        "-W",
        "ignore::ResourceWarning",
        *options,
    )
    assert out == "True\n"


def test_no_file_is_opened_without_its_encoding(tmp_path: Path) -> None:
    err = run(
        tmp_path,
        """
        import os
        import sys
        from bounded_executor import BoundedProcessPoolExecutor

        if __name__ == "__main__":
            sys.stderr = sys.stdout
            options = dict(max_memory_total="auto", max_memory_per_child=10**9, forward_logs=True)
            with BoundedProcessPoolExecutor(1, **options) as executor:
                executor.submit(os.kill, 0, 0).result()
                executor.submit(os._exit, 1).exception()
        """,
        "-X",
        "warn_default_encoding",
        "-W",
        "always::EncodingWarning",
    )
    # loky has such files.
    assert not [line for line in err.splitlines() if "EncodingWarning" in line and "bounded_executor" in line]


# Imports that wait


LAZY = """
lazy import colorsys as colours
lazy import no_such_module
lazy from decimal import Decimal
import sys
from bounded_executor import BoundedProcessPoolExecutor


def use(number):
    return str(Decimal(number)), colours.rgb_to_hsv(1, 0, 0)


def miss():
    return no_such_module.name


if CONDITION:
    with BoundedProcessPoolExecutor(1) as executor:
        print(executor.submit(use, 1).result())
        print(executor.submit(lambda: str(Decimal(2))).result())
        error = executor.submit(miss).exception()
        print(isinstance(error, (ModuleNotFoundError, NameError)), "no_such_module" in str(error))
        print("no_such_module" in sys.modules, list(executor.map(use, [3]))[0][0])
"""


@lazy_imports
@pytest.mark.parametrize("condition", ['__name__ == "__main__"', "True"], ids=["guarded", "unguarded"])
def test_a_script_imports_lazily(condition: str, tmp_path: Path) -> None:
    out = run(tmp_path, LAZY.replace("CONDITION", condition))
    assert out.splitlines() == [
        "('1', (0.0, 1.0, 1))",
        "2",
        "True True",
        "False 3",
    ]


@lazy_imports
def test_a_module_imports_lazily(tmp_path: Path) -> None:
    (tmp_path / "lazily.py").write_text(
        "lazy import colorsys\nlazy import no_such_module\n\n\n"
        "def use():\n    return colorsys.rgb_to_hsv(1, 0, 0)\n\n\n"
        "def miss():\n    return no_such_module.name\n",
        encoding="utf-8",
    )
    out = run(
        tmp_path,
        """
        lazy import lazily
        from bounded_executor import BoundedProcessPoolExecutor

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1, preload=["lazily"]) as executor:
                print(executor.submit(lazily.use).result())
                print(repr(executor.submit(lazily.miss).exception()))
                print(executor.submit(lambda: lazily.use()).result())
        """,
    )
    assert out.splitlines() == [
        "(0.0, 1.0, 1)",
        """ModuleNotFoundError("No module named 'no_such_module'", name='no_such_module')""",
        "(0.0, 1.0, 1)",
    ]

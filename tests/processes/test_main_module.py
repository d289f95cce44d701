"""The main module in worker processes: imported where it has a guard, by value where it cannot be.

``tests/swap`` compares whole programs. Here is what they do not show: what the source tells, who wins of two
assignments, and what happens where an import fails.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import run_script, script_environment

from bounded_executor import BoundedProcessPoolExecutor
from bounded_executor._serialize import script_source

HEAD = """
import threading
from concurrent.futures import wait
from bounded_executor import BoundedProcessPoolExecutor
"""

RunFile = Callable[..., str]


@pytest.fixture
def run_file(tmp_path: Path) -> RunFile:
    """Run a script from a file and return what it printed; it must succeed, and by default quietly."""

    def run(code: str, *arguments: str, name: str = "script.py", quiet: bool = True, head: str = HEAD) -> str:
        (tmp_path / name).write_text(head + textwrap.dedent(code))
        ended = subprocess.run(
            [sys.executable, *arguments, name],
            cwd=tmp_path,
            env=script_environment(),
            capture_output=True,
            text=True,
            timeout=100,
            stdin=subprocess.DEVNULL,
        )
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
        assert not quiet or not ended.stderr, ended.stderr
        return ended.stdout + ("" if quiet else ended.stderr)

    return run


# What the source tells


@pytest.mark.parametrize(
    "test",
    [
        "__name__ == '__main__'",
        "'__main__' == __name__",
        "(__name__) == ('__main__')",
        "__name__ == '__main__' and ready",
        "ready and '__main__' == __name__",
        "not __name__ != '__main__'",
        "__name__ in ('__main__',)",
        "(found := __name__ == '__main__')",
    ],
)
def test_a_guard_in_any_spelling(test: str) -> None:
    script = script_source.read(ast.parse(f"x = 1\nif {test}:\n    y = 2\n    z = 3\nelse:\n    w = 4\n"))
    assert script.guards == ((3, 4),)
    assert script.guards_line(3) and not script.guards_line(6)
    assert script.bound >= {"x", "w"} and not script.bound & {"y", "z"}
    assert script.rebound == {"y", "z"}


@pytest.mark.parametrize(
    "test",
    [
        "__name__ != '__main__'",
        "__name__ == '__main__' or ready",
        "__name__ == 'main'",
        "__name__",
        "name == '__main__'",
        "__name__ in ('__main__', '__mp_main__')",
        "not (__name__ == '__main__' and ready)",
        "__name__ == '__main__' == ready",
    ],
)
def test_what_is_no_guard(test: str) -> None:
    script = script_source.read(ast.parse(f"x = 1\nif {test}:\n    y = 2\n"))
    assert script.guards == ()
    assert script.bound == {"x", "y"}


@pytest.mark.parametrize("test", ["__name__ != '__main__'", "not __name__ == '__main__'"])
def test_the_other_half_may_be_the_guarded_one(test: str) -> None:
    script = script_source.read(ast.parse(f"if {test}:\n    y = 2\nelse:\n    z = 3\n"))
    assert (script.guards, script.bound, script.rebound) == (((4, 4),), {"y"}, {"z"})


def test_a_guard_in_a_function_is_none() -> None:
    script = script_source.read(ast.parse("def main():\n    if __name__ == '__main__':\n        run()\n"))
    assert script.guards == ()
    assert script.defines


def test_names_that_an_import_binds() -> None:
    source = """
    import a.b, c as d
    from e import f as g
    h, (i, *j) = k = 1, (2, 3)
    for l in []: m = 1
    with open(x) as n: pass
    try: o = 1
    except Error as p: pass
    class Q:
        r = 1
    def s():
        global t
        u = t = 1
    [v for v in []]
    match w:
        case {"x": y, **z}: pass
    """
    script = script_source.read(ast.parse(textwrap.dedent(source)))
    assert script.bound == set("adghijklmnoQsyz")
    assert script.rebound == {"t"}


# Imported: whose value it is


def test_the_values_of_the_program_and_the_objects_of_the_import(run_file: RunFile) -> None:
    """What is changed in place stays the object that others refer to; what is assigned is another."""
    out = run_file(
        """
        MISSING = object()
        PATCHED = {}
        ASSIGNED = {"old": 1}
        UNTOUCHED = []

        def look(value=MISSING, patched=PATCHED, assigned=ASSIGNED, untouched=UNTOUCHED):
            return (
                value is MISSING, patched is PATCHED, dict(PATCHED),
                assigned is ASSIGNED, dict(ASSIGNED), untouched is UNTOUCHED,
            )

        if __name__ == "__main__":
            PATCHED["new"] = 1
            ASSIGNED = {"new": 2}
            with BoundedProcessPoolExecutor(1) as ex:
                print(ex.submit(look).result() == look(), look())
        """
    )
    assert out == "True (True, True, {'new': 1}, False, {'new': 2}, True)\n"


def test_what_workers_make_of_a_global_is_theirs(run_file: RunFile) -> None:
    """Neither a function that comes later nor the parent's next assignment takes it away."""
    out = run_file(
        """
        count = 0
        seen = []

        def first():
            global count
            count += 1
            seen.append(count)
            return count

        def second():
            return count, list(seen)

        def prepare():
            global ready
            ready = "by the initializer"

        ready = None

        def is_ready():
            return ready

        if __name__ == "__main__":
            count = 10
            with BoundedProcessPoolExecutor(1, initializer=prepare) as ex:
                print([ex.submit(first).result() for _ in range(3)])
                count = 99
                seen.append("parent")
                print(*[ex.submit(fn).result() for fn in (second, lambda: count, is_ready)])
        """
    )
    assert out == "[11, 12, 13]\n(13, [11, 12, 13]) 13 by the initializer\n"


def test_a_global_of_a_later_function_arrives_with_it(run_file: RunFile) -> None:
    out = run_file(
        """
        def early():
            return "early"

        def late():
            return TABLE

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(2) as ex:
                print([ex.submit(early).result() for _ in range(4)])
                TABLE = {"made": "late"}
                print(ex.submit(late).result(), [one for one in ex.map(lambda _: TABLE["made"], range(3))])
        """
    )
    assert out.endswith("{'made': 'late'} ['late', 'late', 'late']\n")


def test_functions_of_the_guarded_block_that_are_defined_again(run_file: RunFile) -> None:
    """Each task runs what it was given, however late; what they call is the newest."""
    out = run_file(
        """
        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(2, max_tasks_per_child=3) as ex:
                futures = []
                for number in range(6):
                    def work(value, number=number):
                        return number, value

                    futures += [ex.submit(work, value) for value in range(4)]
                print([future.result() for future in futures] == [(n, v) for n in range(6) for v in range(4)])
                job = ex.submit(work, 1)
                print(ex.submit(lambda: work).result() is work)
        """
    )
    assert out == "True\nTrue\n"


def test_a_top_level_function_that_is_replaced(run_file: RunFile) -> None:
    """By the guarded block, by ``global``, or by another function under the same name."""
    out = run_file(
        """
        def double(value):
            return 2 * value

        def triple(value):
            return 3 * value

        def other(value):
            return 0

        plain = double

        def replace():
            global other
            def other(value):
                return 7 * value

        def call(value):
            return double(value), plain(value), other(value)

        if __name__ == "__main__":
            double = triple
            replace()
            with BoundedProcessPoolExecutor(1) as ex:
                print(*[ex.submit(fn, 1).result() for fn in (double, plain, other)])
                print(ex.submit(call, 1).result() == call(1), call(1))
        """
    )
    assert out == "3 2 7\nTrue (3, 2, 7)\n"


def test_what_is_named_in_both_directions_is_the_same(run_file: RunFile) -> None:
    out = run_file(
        """
        import enum, functools, typing

        class Color(enum.Enum):
            RED = 1

        class Broken(Exception):
            pass

        class Holder:
            class Inner:
                pass

            @classmethod
            def make(cls):
                return cls()

        class Pair(typing.NamedTuple):
            left: int
            right: int

        @functools.lru_cache
        def cached(value):
            return value

        def give(value):
            return value

        def fail():
            raise Broken("here")

        if __name__ == "__main__":
            class Local:
                total = 0

            with BoundedProcessPoolExecutor(1) as ex:
                for value in (Color.RED, Color, Broken, Holder.Inner, cached, give, Local, Pair):
                    assert ex.submit(give, value).result() is value, value
                assert type(ex.submit(give, Holder.Inner()).result()) is Holder.Inner
                assert type(ex.submit(Holder.make).result()) is Holder
                assert type(ex.submit(give, Local()).result()) is Local
                assert ex.submit(give, Pair(1, 2)).result() == Pair(1, 2)
                assert type(ex.submit(fail).exception()) is Broken
                print("all the same")
        """
    )
    assert out == "all the same\n"


def test_a_global_that_nobody_can_have_is_named(run_file: RunFile) -> None:
    out = run_file(
        """
        def locked():
            with lock:
                return 1

        def fine():
            return 2

        if __name__ == "__main__":
            lock = threading.Lock()
            with BoundedProcessPoolExecutor(1) as ex:
                error = ex.submit(locked).exception()
                print(type(error).__name__, error)
                print(ex.submit(fine).result())
        """
    )
    assert out.startswith("NameError name 'lock' is not defined: the main module's lock is a _thread.lock"), (
        out
    )
    assert "at the top level of the script" in out
    assert out.endswith("\n2\n")


def test_first_tasks_of_many_threads(run_file: RunFile) -> None:
    out = run_file(
        """
        from concurrent.futures import ThreadPoolExecutor

        def one(): return A
        def two(): return B, one()
        def three(): return C, two()

        if __name__ == "__main__":
            A, B, C = [1], {"b": 2}, 3
            for _ in range(5):
                with ThreadPoolExecutor(6) as threads, BoundedProcessPoolExecutor(2) as ex:
                    start = threading.Barrier(6)
                    def go(fn):
                        start.wait()
                        return ex.submit(fn).result()
                    found = list(threads.map(go, [one, two, three] * 2))
                    assert found == [one(), two(), three()] * 2, found
            print("right")
        """
    )
    assert out == "right\n"


# By value


CELLS = """
import sys
from bounded_executor import BoundedProcessPoolExecutor

def cell(text):
    exec(compile(text, "<cell>", "exec"), globals())

ex = BoundedProcessPoolExecutor(1)
"""


def test_of_two_assignments_the_newer_one_wins() -> None:
    code = CELLS + textwrap.dedent(
        """
        cell('''
        count = 0
        def step():
            global count
            count += 1
            return count
        '''.replace("\\n        ", "\\n"))
        assert [ex.submit(step).result() for _ in range(3)] == [1, 2, 3]
        # Not changed here since it was sent.
        count = 0
        assert ex.submit(step).result() == 4
        count = 10
        assert [ex.submit(step).result() for _ in range(2)] == [11, 12]
        assert ex.submit(lambda: count).result() == 12
        """
    )
    run_script(code)


def test_functions_and_objects_that_cells_define_anew() -> None:
    code = CELLS + textwrap.dedent(
        """
        cell("def inner(): return 'old'")
        cell("def outer(): return inner(), CONFIG['key'], Thing.limit")
        cell("CONFIG = {'key': 1}")
        cell("class Thing: limit = 1")
        assert ex.submit(outer).result() == ("old", 1, 1)
        cell("def inner(): return 'new'")
        assert ex.submit(outer).result() == ("new", 1, 1)
        CONFIG["key"] = 2
        assert ex.submit(outer).result() == ("new", 2, 1)
        Thing.limit = 3
        assert ex.submit(outer).result() == ("new", 2, 3)
        cell("class Thing: limit = 4")
        assert list(ex.map(lambda _: outer(), range(2))) == [("new", 2, 4)] * 2
        old = Thing()
        cell("class Thing: limit = 5")
        assert type(ex.submit(lambda: old).result()) is type(old)
        assert type(ex.submit(Thing).result()) is Thing
        """
    )
    run_script(code)


def test_functions_of_a_cell_that_wait_while_it_is_run_again(tmp_path: Path) -> None:
    """They run as they were when they were submitted."""
    code = CELLS + textwrap.dedent(
        """
        import pathlib, time

        def hold():
            while not pathlib.Path(sys.argv[1]).exists():
                time.sleep(0.01)

        ex.submit(hold)
        futures = []
        for number in range(5):
            cell(f"def work(value): return {number}, value")
            futures += [ex.submit(work, value) for value in range(3)]
        pathlib.Path(sys.argv[1]).touch()
        assert [one.result() for one in futures] == [(n, v) for n in range(5) for v in range(3)]
        """
    )
    run_script(code, tmp_path / "go")


def test_caches_and_attributes_stay_in_a_process_by_value() -> None:
    code = CELLS + textwrap.dedent(
        """
        import functools

        @functools.lru_cache
        def cached(value):
            calls.append(value)
            return len(calls)

        calls = []

        def counted():
            counted.calls = getattr(counted, "calls", 0) + 1
            return counted.calls

        def even(number): return number == 0 or odd(number - 1)
        def odd(number): return number != 0 and even(number - 1)

        assert [ex.submit(cached, value).result() for value in (1, 1, 2, 1)] == [1, 1, 2, 1]
        assert [ex.submit(counted).result() for _ in range(3)] == [1, 2, 3]
        assert ex.submit(even, 10).result()
        assert calls == [] and not hasattr(counted, "calls")
        """
    )
    run_script(code)


def test_import_main_switched_off(run_file: RunFile) -> None:
    out = run_file(
        """
        import os

        with open("imports.txt", "a") as file:
            file.write("x")
        count = 0

        def step():
            global count
            count += 1
            return count, __name__

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1, import_main=False) as ex:
                print([ex.submit(step).result() for _ in range(2)], os.path.getsize("imports.txt"))
        """
    )
    assert out == "[(1, '__main__'), (2, '__main__')] 1\n"


@pytest.mark.parametrize("value", [1, None, "yes"])
def test_import_main_is_true_or_false(value: object) -> None:
    with pytest.raises(TypeError, match="import_main must be True or False"):
        BoundedProcessPoolExecutor(1, import_main=value)  # type: ignore[arg-type]


# Imports that fail


def test_an_import_that_fails_loses_nothing_that_was_submitted(run_file: RunFile) -> None:
    """Tasks, their arguments and the initializer went by name before it was known."""
    out = run_file(
        """
        if __name__ != "__main__":
            raise LookupError("not here")

        factor = None

        class Number:
            def __init__(self, value):
                self.value = value * SCALE

        def prepare(value):
            global factor
            factor = value

        def times(number):
            return Number(number.value * factor), helper()

        def helper():
            return SCALE

        if __name__ == "__main__":
            SCALE = 10
            with BoundedProcessPoolExecutor(2, None, prepare, (3,), max_tasks_per_child=2) as ex:
                futures = [ex.submit(times, Number(number)) for number in range(20)]
                results = [future.result() for future in futures]
                assert [number.value for number, _ in results] == [n * 300 for n in range(20)]
                assert all(type(number) is Number and scale == 10 for number, scale in results)
                assert [n.value for n, _ in ex.map(times, map(Number, range(3)))] == [0, 300, 600]
            print("right")
        """,
        quiet=False,
    )
    assert out.startswith("right\n")
    assert out.count("could not be imported") == 1
    assert "LookupError: not here" in out


def test_each_worker_imports_what_leaves_threads(run_file: RunFile) -> None:
    out = run_file(
        """
        import os

        threading.Thread(target=threading.Event().wait, daemon=True, name="mine").start()
        with open("imports.txt", "a") as file:
            file.write("x")

        def look(_):
            return os.getpid(), "mine" in [one.name for one in threading.enumerate()], NAME

        if __name__ == "__main__":
            NAME = "name"
            with BoundedProcessPoolExecutor(2, max_tasks_per_child=1) as ex:
                found = list(ex.map(look, range(6)))
                print(len({pid for pid, _, _ in found}), {rest for _, *rest in found} if 0 else
                      all(rest == [True, "name"] for _, *rest in found), os.path.getsize("imports.txt") >= 7)
        """
    )
    assert out == "6 True True\n"


def test_an_executor_in_a_spawned_process_of_the_program(run_file: RunFile) -> None:
    out = run_file(
        """
        import multiprocessing

        state = 0

        class Result(int):
            pass

        def task():
            global state
            state += 1
            return Result(state)

        def below(queue):
            with BoundedProcessPoolExecutor(1) as ex:
                results = [ex.submit(task).result() for _ in range(3)]
                queue.put((results == [1, 2, 3], type(results[0]) is Result))

        if __name__ == "__main__":
            for method in ("spawn", "fork"):
                context = multiprocessing.get_context(method)
                queue = context.SimpleQueue()
                process = context.Process(target=below, args=(queue,))
                process.start()
                print(queue.get())
                process.join()
        """,
        "-W",
        "ignore",
    )
    assert out == "(True, True)\n" * 2


def test_a_worker_has_the_script_as_it_was_when_it_began(run_file: RunFile) -> None:
    out = run_file(
        """
        import os

        def version():
            return 1

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
                first = ex.submit(version).result()
                os.unlink(__file__)
                print(first, [ex.submit(version).result() for _ in range(3)])
        """
    )
    assert out == "1 [1, 1, 1]\n"
    assert not os.path.exists("script.py")


def test_a_global_that_changes_with_each_task_does_not_pile_up() -> None:
    code = CELLS + textwrap.dedent(
        """
        import os, tracemalloc

        number = 0
        results = []

        class Thing:
            count = 0

        def look():
            return number, len(results), Thing.count

        for number in range(200):
            results.append("x" * 10_000)
            Thing.count += 1
            assert ex.submit(look).result() == (number, number + 1, number + 1)
        store = ex._core.backend._session.exports.store_fd
        assert os.fstat(store).st_size < 4_000_000, os.fstat(store).st_size
        """
    )
    run_script(code, quiet=False)


def test_an_import_that_fails_only_in_a_later_worker(run_file: RunFile) -> None:
    out = run_file(
        """
        import os

        with open("imports.txt", "a") as file:
            file.write("x")
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        if os.path.getsize("imports.txt") >= 4:
            raise LookupError("the fourth")

        def task(value):
            return value + 1

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(2, max_tasks_per_child=1) as ex:
                print(list(ex.map(task, range(8), chunksize=1)) == list(range(1, 9)))
        """,
        quiet=False,
    )
    assert out.startswith("True\n"), out
    assert out.count("could not be imported") == 1, out
    assert "supervisor of the processes ended" not in out, out


def test_an_import_that_fails_in_one_worker_leaves_what_others_run(run_file: RunFile) -> None:
    out = run_file(
        """
        import os
        import time

        def count(name):
            with open(name, "a") as file:
                file.write("x")
            return os.path.getsize(name)

        threading.Thread(target=threading.Event().wait, daemon=True).start()
        # The supervisor's, that of the first worker, and then that of the second one.
        if count("imports.txt") >= 4:
            raise LookupError("the fourth")

        def first(value):
            count("runs.txt")
            while os.path.getsize("imports.txt") < 4:
                time.sleep(0.001)
            # The parent has learned of it by then, or is about to.
            time.sleep(0.5)
            return value

        def second(value):
            return value

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(2) as ex:
                one = ex.submit(first, 1)
                others = [ex.submit(second, value) for value in range(5)]
                print(one.result(), [other.result() for other in others], os.path.getsize("runs.txt"))
        """,
        quiet=False,
    )
    assert out.startswith("1 [0, 1, 2, 3, 4] 1\n"), out
    assert out.count("could not be imported") == 1, out


def test_a_global_that_stays_none_is_named_by_the_error(run_file: RunFile) -> None:
    out = run_file(
        """
        import threading

        LOCK = None

        def locked():
            return LOCK.locked()

        def other():
            return None.attribute

        if __name__ == "__main__":
            LOCK = threading.Lock()
            with BoundedProcessPoolExecutor(1) as ex:
                for function in (locked, other):
                    try:
                        ex.submit(function).result()
                    except AttributeError as error:
                        print(error)
        """
    )
    first, second = out.splitlines()
    assert first.startswith("'NoneType' object has no attribute 'locked': the main module's LOCK is a"), out
    assert "in the initializer" in first, out
    assert second == "'NoneType' object has no attribute 'attribute'", out

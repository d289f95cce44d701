"""Main scripts that cannot be imported, or only with harm: programs go on, with one warning that says why."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import side_by_side

# A program that hangs takes this long to fail.
SECONDS = 60.0

HEAD = """
import json
import logging
import sys

from pool import Executor

with open("runs.txt", "a") as file:
    file.write(__name__ + "\\n")

"""

BODY = """

calls = 0
name = "unset"


class Total(int):
    pass


def count(step):
    global calls
    calls += step
    return Total(calls)


def look():
    return name


class Keep(logging.Handler):
    messages = []

    def emit(self, record):
        self.messages.append((record.levelname, self.format(record)))


def main():
    global name
    name = "set"
    logging.captureWarnings(True)
    for logger in ("bounded_executor", "py.warnings"):
        logging.getLogger(logger).addHandler(Keep())
    with Executor(max_workers=1) as executor:
        results = [executor.submit(count, step).result() for step in (1, 2, 3)]
        seen = executor.submit(look).result()
    print(json.dumps({"results": results, "seen": seen, "is_total": type(results[0]) is Total,
                      "messages": Keep.messages, "here": calls}))


if __name__ == "__main__":
    main()
"""


class Outcome(NamedTuple):
    """What a program of this module has printed, and what its top level has written to a file."""

    found: dict[str, Any]
    runs: list[str]
    err: str

    @property
    def warnings(self) -> list[str]:
        return [text for level, text in self.found["messages"] if level in ("WARNING", "ERROR", "CRITICAL")]


def run(folder: Path, source: str, text: str = "", seconds: float = SECONDS) -> Outcome:
    (folder / "script.py").write_text(source)
    ended = side_by_side.run(folder, "ours", ["script.py"], text, seconds)
    assert ended.status == 0, str(ended)
    runs = folder / "runs.txt"
    return Outcome(
        json.loads(ended.out.splitlines()[-1]), runs.read_text().split() if runs.exists() else [], ended.err
    )


def assert_right(outcome: Outcome) -> None:
    """The program has its results, by value or by name."""
    found = outcome.found
    assert found["results"] == [1, 3, 6], outcome
    assert (found["seen"], found["is_total"], found["here"]) == ("set", True, 0), outcome


IN_A_WORKER = 'if __name__ != "__main__":\n'

FAULTS = {
    "raises": ("    raise LookupError('no ' + 'such thing')", r"LookupError.*no such thing"),
    "raises an interrupt": ("    raise KeyboardInterrupt", r"KeyboardInterrupt"),
    "fails to import": (
        "    import a_module_that_is_not_there",
        r"No module named 'a_module_that_is_not_there'",
    ),
    "exits": ("    sys.exit('no ' + 'room')", r"SystemExit|no room"),
    "exits at once": ("    import os; os._exit(3)", r"status 3|code 3"),
    "aborts": ("    import os; os.abort()", r"SIGABRT|Aborted"),
    "has a segmentation fault": ("    import ctypes; ctypes.string_at(0)", r"SIGSEGV|Segmentation fault"),
    "kills itself": ("    import os; os.kill(os.getpid(), 9)", r"SIGKILL"),
    "runs out of recursion": ("    def f(): f()\n    f()", r"RecursionError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_top_level_that_fails_in_a_worker(tmp_path: Path, fault: str) -> None:
    top, reason = FAULTS[fault]
    outcome = run(tmp_path, HEAD + IN_A_WORKER + top + BODY)
    assert_right(outcome)
    assert len(outcome.warnings) == 1, outcome
    assert re.search(reason, outcome.warnings[0]), outcome
    assert re.search(r"script\.py|main module", outcome.warnings[0]), outcome
    # It was tried, and not for each process again.
    assert outcome.runs[0] == "__main__", outcome
    assert 1 <= outcome.runs.count("__mp_main__") <= 2, outcome


@pytest.mark.slow  # Nothing but a time limit tells that it hangs.
def test_a_top_level_that_hangs_in_a_worker(tmp_path: Path) -> None:
    top = "    import threading; threading.Event().wait()"
    outcome = run(tmp_path, HEAD + IN_A_WORKER + top + BODY, seconds=100)
    assert_right(outcome)
    assert len(outcome.warnings) == 1, outcome
    assert re.search(r"script\.py|main module", outcome.warnings[0]), outcome


def test_a_top_level_that_uses_up_its_input(tmp_path: Path) -> None:
    source = HEAD + "first = input()\n" + BODY.replace("    return name", "    return name + first")
    outcome = run(tmp_path, source, text="Bob\n")
    assert outcome.found["results"] == [1, 3, 6], outcome
    assert outcome.found["seen"] == "setBob", outcome
    assert len(outcome.warnings) == 1, outcome
    assert "EOFError" in outcome.warnings[0], outcome


def test_a_top_level_that_takes_what_only_one_can_have(tmp_path: Path) -> None:
    top = """
import fcntl
held = open("lock", "w")
fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
    outcome = run(tmp_path, HEAD + top + BODY)
    assert_right(outcome)
    assert len(outcome.warnings) == 1, outcome
    assert "BlockingIOError" in outcome.warnings[0], outcome


def test_a_top_level_that_starts_threads(tmp_path: Path) -> None:
    top = """
import threading
threading.Thread(target=threading.Event().wait, name="mine", daemon=True).start()
"""
    body = BODY.replace(
        "    return name", "    return [name, [t.name for t in threading.enumerate()].count('mine')]"
    )
    outcome = run(tmp_path, HEAD + top + body)
    assert outcome.found["results"] == [1, 3, 6], outcome
    assert outcome.found["is_total"], outcome
    # Each worker has imported it for itself, and so has a thread of its own.
    assert outcome.found["seen"] == ["set", 1], outcome
    assert set(outcome.runs) == {"__main__", "__mp_main__"}, outcome
    assert len(outcome.warnings) <= 1, outcome


def test_a_thread_that_does_not_end_with_the_process(tmp_path: Path) -> None:
    top = """
import threading
import time
if __name__ != "__main__":
    threading.Thread(target=time.sleep, args=(1000,)).start()
"""
    outcome = run(tmp_path, HEAD + top + BODY)
    assert_right(outcome)


def test_a_script_that_was_deleted(tmp_path: Path) -> None:
    source = HEAD + BODY.replace("    main()", "    import os; os.unlink(__file__)\n    main()")
    outcome = run(tmp_path, source)
    assert_right(outcome)
    assert outcome.runs == ["__main__"], outcome
    assert len(outcome.warnings) == 1, outcome
    assert re.search(r"script\.py|main module", outcome.warnings[0]), outcome


@pytest.mark.parametrize("becomes", ["other code", "no Python", "nothing"])
def test_a_script_that_was_changed(tmp_path: Path, becomes: str) -> None:
    texts = {
        "other code": "open(__file__).read().replace('calls += step', 'calls += 100 * step')",
        "no Python": "'this is ('",
        "nothing": "''",
    }
    change = f"    text = {texts[becomes]}\n    open(__file__, 'w').write(text)\n    main()"
    outcome = run(tmp_path, HEAD + BODY.replace("    main()", change))
    # The code that runs is what the tasks run.
    assert_right(outcome)
    assert outcome.runs == ["__main__"], outcome
    assert len(outcome.warnings) == 1, outcome
    assert re.search(r"script\.py|main module", outcome.warnings[0]), outcome


@pytest.mark.parametrize(
    "change", ["os.unlink(__file__)", "open(__file__, 'w').write('raise SystemExit(9)')"]
)
def test_a_script_that_is_changed_while_its_executor_runs(tmp_path: Path, change: str) -> None:
    body = BODY.replace("max_workers=1", "max_workers=1, max_tasks_per_child=1").replace(
        "        results = [",
        f"        executor.submit(look).result()\n        import os; {change}\n        results = [",
    )
    outcome = run(tmp_path, HEAD + body)
    # Replaced processes have the same code as the first, and each begins anew.
    assert outcome.found["results"] == [1, 2, 3], outcome
    assert (outcome.found["seen"], outcome.found["is_total"]) == ("set", True), outcome
    assert not outcome.warnings, outcome


def test_a_folder_that_was_deleted(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    source = HEAD + BODY.replace(
        "    main()", "    import os, shutil; os.chdir('..'); shutil.rmtree('inner')\n    main()"
    )
    (inner / "script.py").write_text(source)
    ended = side_by_side.run(inner, "ours", ["script.py"], seconds=SECONDS)
    assert ended.status == 0, str(ended)
    found = json.loads(ended.out)
    assert found["results"] == [1, 3, 6], str(ended)


def test_a_warning_is_not_repeated_for_each_process(tmp_path: Path) -> None:
    body = BODY.replace("max_workers=1", "max_workers=2, max_tasks_per_child=1").replace(
        "        seen =", "        list(executor.map(count, range(6)))\n        seen ="
    )
    outcome = run(tmp_path, HEAD + IN_A_WORKER + "    raise LookupError('no ' + 'such thing')" + body)
    assert outcome.found["results"] == [1, 2, 3], outcome
    assert len(outcome.warnings) == 1, outcome
    assert outcome.runs.count("__mp_main__") <= 2, outcome


def test_the_warning_is_on_standard_error_by_default(tmp_path: Path) -> None:
    body = BODY.replace('("bounded_executor", "py.warnings")', "()")
    outcome = run(tmp_path, HEAD + IN_A_WORKER + "    raise LookupError('no ' + 'such thing')" + body)
    assert_right(outcome)
    assert "no such thing" in outcome.err, outcome


def test_an_unguarded_block_is_never_run_in_a_worker(tmp_path: Path) -> None:
    source = HEAD + textwrap.dedent(
        """
        calls = 0

        def count(step):
            global calls
            calls += step
            return calls

        with Executor(max_workers=1, max_tasks_per_child=2) as executor:
            results = list(executor.map(count, [1] * 6))
        print(json.dumps({"results": results, "messages": []}))
        """
    )
    outcome = run(tmp_path, source)
    assert outcome.found["results"] == [1, 2, 1, 2, 1, 2], outcome
    assert outcome.runs == ["__main__"], outcome
    assert not outcome.err, outcome


def test_an_executor_that_only_an_import_uses(tmp_path: Path) -> None:
    """The top runs tasks only where it is imported, which no look at the frames of the program shows."""
    top = """
def double(number):
    return number * 2

if __name__ == "__mp_main__":
    with Executor(max_workers=1) as inner:
        print(inner.submit(double, 1).result())
"""
    outcome = run(tmp_path, HEAD + top + BODY)
    assert_right(outcome)
    assert outcome.runs.count("__mp_main__") <= 2, outcome
    assert len(outcome.warnings) <= 1, outcome


FORK = "multiprocessing.get_context('fork')"
GLOBALS = {
    "a lock of threads": ("threading.Lock()", "with mailbox: return 'done'"),
    "an open socket": ("socket.create_server(('127.0.0.1', 0))", "return mailbox.getsockname()[1]"),
    "a generator": ("(n for n in range(3))", "return next(mailbox)"),
    "a queue made for fork": (f"{FORK}.Queue()", "mailbox.put(1); return 'put'"),
    "an event made for fork": (f"{FORK}.Event()", "mailbox.set(); return 'set'"),
    "an executor": ("Executor(max_workers=1)", "return mailbox.submit(abs, -1).result()"),
}


@pytest.mark.parametrize("kind", GLOBALS)
def test_a_global_of_the_guarded_block_that_no_other_process_can_have(tmp_path: Path, kind: str) -> None:
    """The task fails, and the error has the global's name; or, where sharing works, it is mailbox."""
    make, use = GLOBALS[kind]
    source = HEAD + textwrap.dedent(
        f"""
        import multiprocessing
        import socket
        import threading

        calls = 0

        def work():
            {use}

        def count():
            global calls
            calls += 1
            return calls

        if __name__ == "__main__":
            mailbox = {make}
            error = result = None
            with Executor(max_workers=1) as executor:
                try:
                    result = executor.submit(work).result()
                except Exception as raised:
                    error = f"{{type(raised).__name__}}: {{raised}}"
                counts = [executor.submit(count).result() for _ in range(2)]
            arrived = None
            if "queue" in {kind!r} and result is not None:
                arrived = mailbox.get(timeout=5)
            elif "socket" in {kind!r}:
                arrived = result == mailbox.getsockname()[1] and 1
            elif "event" in {kind!r} and result is not None:
                arrived = mailbox.is_set() and 1
            print(json.dumps({{"result": result, "error": error, "arrived": arrived, "counts": counts}}))
        """
    )
    found = run(tmp_path, source).found
    assert found["counts"] == [1, 2], found
    if found["error"] is None:
        assert found["arrived"] == 1, f"a silent private copy: {found}"
    else:
        assert "mailbox" in found["error"], found


@pytest.mark.parametrize("where", ["top", "guarded block"])
@pytest.mark.parametrize("kind", ["Value", "Queue", "Event", "Lock"])
def test_what_multiprocessing_made_for_fork_is_shared_or_refused(
    tmp_path: Path, kind: str, where: str
) -> None:
    make = {"Value": "Value('i', 0)", "Queue": "Queue()", "Event": "Event()", "Lock": "Lock()"}[kind]
    use = {
        "Value": ("mailbox.value += 1", "mailbox.value == 1"),
        "Queue": ("mailbox.put(1)", "mailbox.get(timeout=3) == 1"),
        "Event": ("mailbox.set()", "mailbox.is_set()"),
        "Lock": ("mailbox.acquire()", "not mailbox.acquire(timeout=0.1)"),
    }[kind]
    made = f"mailbox = multiprocessing.get_context('fork').{make}"
    source = HEAD + "import multiprocessing\nimport queue\n" + (made if where == "top" else "")
    source += textwrap.dedent(
        f"""
        class Keep(logging.Handler):
            messages = []

            def emit(self, record):
                self.messages.append((record.levelname, self.format(record)))

        def work():
            {use[0]}

        if __name__ == "__main__":
            logging.getLogger("bounded_executor").addHandler(Keep())
            {made if where != "top" else "pass"}
            error = None
            is_shared = False
            with Executor(max_workers=1) as executor:
                try:
                    executor.submit(work).result()
                except Exception as raised:
                    error = f"{{type(raised).__name__}}: {{raised}}"
            try:
                is_shared = bool({use[1]})
            except queue.Empty:
                pass
            print(json.dumps({{"error": error, "is_shared": is_shared, "messages": Keep.messages}}))
        """
    )
    outcome = run(tmp_path, source)
    found = outcome.found
    if found["error"] is not None:
        assert "mailbox" in found["error"], outcome
    elif kind == "Lock" and not found["is_shared"]:
        # The workers share one among themselves, and a warning says that the parent is without.
        assert outcome.warnings, f"a silent private copy: {outcome}"
    else:
        assert found["is_shared"], f"a silent private copy: {outcome}"

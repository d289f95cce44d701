"""The command line, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers import script_environment, wait_until

COMMAND = [sys.executable, "-W", "error", "-m", "bounded_executor", "map"]


def take_sigint() -> None:
    # A process in the background of a shell without job control ignores it, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(*options: object, cwd: Path | None = None, stdin: Any = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, options)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=script_environment(),
        cwd=cwd,
        start_new_session=True,
        preexec_fn=take_sigint,
        text=True,
    )


def run(*options: object, given: str = "", status: int = 0, cwd: Path | None = None) -> tuple[list[Any], str]:
    """Run it to its end; return the lines of its standard output, and its standard error."""
    with start(*options, cwd=cwd) as process:
        try:
            out, err = process.communicate(given, timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == status, out + err
    assert "Traceback" not in err
    return [json.loads(line) for line in out.splitlines()], err


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def inputs_of(lines: list[Any]) -> list[Any]:
    return [line["input"] for line in lines]


def one_line(err: str) -> str:
    assert err.count("\n") == 1, err
    return err


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "inputs.txt"


def test_lines_of_a_file_give_lines_in_their_order(source: Path, written: Path) -> None:
    texts = [f"line {number}" for number in range(200)]
    source.write_text("\n".join(texts) + "\n")
    out, err = run("cli_tasks:upper", source, "--workers", 2, "--output", written)
    lines = lines_of(written)
    assert out == []
    assert inputs_of(lines) == texts
    assert [line["result"] for line in lines] == [text.upper() for text in texts]
    assert all(set(line) == {"input", "result", "seconds", "attempts"} for line in lines)
    assert all(line["attempts"] == 1 for line in lines)
    assert "200 succeeded, 0 failed" in one_line(err)


@pytest.mark.parametrize("where", [(), ("-",)], ids=["absent", "dash"])
def test_standard_input_and_output(where: tuple[str, ...]) -> None:
    out, err = run("cli_tasks:upper", *where, "--workers", 1, "--quiet", given="a\r\nb\n\nä without end")
    assert [line["result"] for line in out] == ["A", "B", "", "Ä WITHOUT END"]
    assert err == ""


def test_bytes_that_are_no_text_come_back_as_they_were(source: Path, written: Path) -> None:
    source.write_bytes(b"caf\xe9\n")
    run("cli_tasks:length", source, "--workers", 1, "--output", written)
    (line,) = lines_of(written)
    assert line["input"].encode("utf-8", "surrogateescape") == b"caf\xe9"
    assert line["result"] == 4


def test_json_lines_are_arguments() -> None:
    given = '{"a": 1, "b": 2}\n[3, 4, 5]\n\n6\n'
    out, _ = run("cli_tasks:add", "--json", "--workers", 1, given=given)
    assert inputs_of(out) == [{"a": 1, "b": 2}, [3, 4, 5], 6]
    assert [line["result"] for line in out] == [3, 12, 6]


def test_a_function_in_a_class_and_a_module_in_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "of_mine.py").write_text("class Lines:\n    @staticmethod\n    def twice(x): return x * 2\n")
    out, _ = run("of_mine:Lines.twice", "--workers", 1, given="ab\n", cwd=tmp_path)
    assert out[0]["result"] == "abab"


def test_the_first_error_stops_the_run() -> None:
    given = "".join(f"{'bad' if number == 3 else number}\n" for number in range(1000))
    out, err = run("cli_tasks:fail_on_bad", "--workers", 1, "--queue-size", 4, given=given, status=1)
    assert inputs_of(out)[:4] == ["0", "1", "2", "bad"]
    assert out[3]["error"] == "ValueError: it is bad"
    # What was running or waiting then is a window's worth at most.
    assert len(out) <= 4 + 4
    assert "line 4 of standard input: ValueError: it is bad" in err


def test_keep_going_goes_on() -> None:
    out, err = run("cli_tasks:fail_on_bad", "--workers", 1, "--keep-going", given="1\nbad\n3\n", status=1)
    assert inputs_of(out) == ["1", "bad", "3"]
    assert ["error" in line for line in out] == [False, True, False]
    assert "2 succeeded, 1 failed" in one_line(err)


def test_a_result_that_is_not_json_is_that_lines_error() -> None:
    out, _ = run("cli_tasks:a_set", "--workers", 1, "--keep-going", given="1\nset\n3\n", status=1)
    assert [line.get("result") for line in out] == ["1", None, "3"]
    assert "TypeError: the result is not JSON-serializable" in out[1]["error"]


def test_a_process_that_dies_is_that_lines_error() -> None:
    out, _ = run("cli_tasks:die", "--workers", 1, "--keep-going", given="1\ndie\n3\n", status=1)
    assert [line.get("result") for line in out] == ["1", None, "3"]
    assert out[1]["error"].startswith("TerminatedWorkerError: ")


def test_unordered_writes_what_finishes(tmp_path: Path, written: Path) -> None:
    gate = tmp_path / "gate"
    gate.mkdir()
    with start("cli_tasks:hold", "--workers", 2, "--unordered", "--output", written) as process:
        assert process.stdin
        process.stdin.write(f"{gate}\nsecond\nthird\n")
        process.stdin.flush()
        # Standard input is still open, and the first input is held.
        wait_until(lambda: len(written.read_text().splitlines()) == 2 if written.exists() else False)
        (gate / "open").touch()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert inputs_of(lines_of(written)) == ["second", "third", str(gate)]


def test_no_more_than_the_window_is_read_ahead(tmp_path: Path) -> None:
    (gate := tmp_path / "gate").mkdir()
    fed = 0

    def feed(file: Any) -> None:
        nonlocal fed
        with file:
            for number in range(100):
                # Each of these fills a pipe, so that what the program does not take stays here.
                file.write(f"{gate}\n" if number == 0 else "x" * 2**17 + "\n")
                file.flush()
                fed += 1

    with start("cli_tasks:hold", "--workers", 2, "--queue-size", 8) as process:
        feeder = threading.Thread(target=feed, args=(process.stdin,))
        feeder.start()
        # The first is held; the others could go on, but stand behind it in the output.
        wait_until(lambda: list(gate.glob("begun-*")))
        wait_until(lambda: fed >= 8)
        assert fed <= 9
        (gate / "open").touch()
        assert process.stdout
        assert sum(1 for _ in process.stdout) == 100
        assert fed == 100
        feeder.join()
    assert process.returncode == 0


def test_an_error_ends_the_run_while_standard_input_stays_open() -> None:
    with start("cli_tasks:fail_on_bad", "--workers", 1) as process:
        assert process.stdin and process.stdout
        process.stdin.write("bad\n")
        process.stdin.flush()
        assert process.wait(60) == 1
        assert inputs_of([json.loads(line) for line in process.stdout]) == ["bad"]


BAD_USES = [
    (["no_such_module_at_all:f"], "there is no module 'no_such_module_at_all'"),
    (["cli_tasks.deeper:f"], "cli_tasks"),
    (["cli_tasks:nothing"], "has no 'nothing'"),
    (["cli_tasks:not_a_function"], "'cli_tasks:not_a_function' is not callable"),
    (["cli_tasks"], "'cli_tasks' does not name a function"),
    (["cli_tasks:upper", "no/such/file"], "cannot read no/such/file"),
    (["cli_tasks:upper", "."], "cannot read ."),
    (["cli_tasks:upper", "--output", "no/such/folder/file"], "cannot write to no/such/folder/file"),
    (["cli_tasks:upper", "--preload", "no_such_module_at_all"], "no module 'no_such_module_at_all'"),
    (["cli_tasks:upper", "--workers", "0"], "--workers: must be at least 1, got '0'"),
    (["cli_tasks:upper", "--max-memory-total", "lots"], "--max-memory-total: must be a number of bytes"),
    (["cli_tasks:upper", "--task-timeout", "-1"], "--task-timeout"),
    (["cli_tasks:upper", "--resume"], "--resume needs --output"),
    (["cli_tasks:upper", "--max-tasks-jitter", "1"], "--max-tasks-jitter needs --max-tasks-per-child"),
]


@pytest.mark.parametrize(("options", "message"), BAD_USES, ids=[message for _, message in BAD_USES])
def test_bad_use_is_told_in_one_line(options: list[str], message: str) -> None:
    out, err = run(*options, given="x\n", status=2)
    assert out == []
    assert message in one_line(err)


def test_a_module_that_raises_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import not_there_either\n")
    _, err = run("broken:f", cwd=tmp_path, status=2)
    assert "module 'broken' cannot be imported" in one_line(err)
    assert "not_there_either" in err


def test_line_17_is_not_json_and_what_was_before_is_written() -> None:
    given = "".join(f"{number}\n" for number in range(1, 17)) + "{oops\n18\n"
    out, err = run("cli_tasks:add", "--json", "--workers", 2, given=given, status=2)
    assert [line["result"] for line in out] == list(range(1, 17))
    assert "line 17 of standard input is not JSON" in err


def test_an_output_with_something_in_it_is_refused(source: Path, written: Path) -> None:
    source.write_text("a\n")
    written.write_text("precious\n")
    _, err = run("cli_tasks:upper", source, "--output", written, status=2)
    assert "--overwrite" in one_line(err)
    assert written.read_text() == "precious\n"
    _, err = run("cli_tasks:upper", source, "--output", written, "--resume", status=2)
    assert "line 1 of" in one_line(err)
    assert written.read_text() == "precious\n"
    run("cli_tasks:upper", source, "--output", written, "--overwrite")
    assert inputs_of(lines_of(written)) == ["a"]


def test_the_input_is_not_overwritten(source: Path) -> None:
    source.write_text("a\n")
    _, err = run("cli_tasks:upper", source, "--output", source, "--overwrite", status=2)
    assert "is both input and output" in one_line(err)
    assert source.read_text() == "a\n"


def test_an_output_that_another_run_writes_is_refused(tmp_path: Path, written: Path) -> None:
    with start("cli_tasks:upper", "--workers", 1, "--output", written) as process:
        assert process.stdin
        process.stdin.write("a\n")
        process.stdin.flush()
        wait_until(lambda: lines_of(written))
        _, err = run("cli_tasks:upper", "--output", written, "--resume", given="a\n", status=2)
        assert "is being written by another run" in one_line(err)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "cli_tasks:upper"],
            input="a\n",
            stdout=full,
            stderr=subprocess.PIPE,
            env=script_environment(),
            timeout=60,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "cannot write to standard output: No space left" in one_line(done.stderr)


def on_a_terminal(
    *options: object, status: int = 0, columns: int = 80, seen: Callable[[str], object] = len
) -> str:
    """Run with a terminal as standard error; return what it showed.

    Args:
        status: the exit status that is expected.
        columns: how wide the terminal is.
        seen: called with all that was shown so far, whenever there is more of it.
    """
    ours, theirs = os.openpty()
    shown = b""
    with subprocess.Popen(
        [*COMMAND, *map(str, options)],
        stdin=subprocess.DEVNULL,
        stderr=theirs,
        env=script_environment(TERM="xterm", COLUMNS=str(columns)),
    ) as process:
        os.close(theirs)
        # Reading fails when the last process has closed the other side.
        with suppress(OSError):
            while block := os.read(ours, 4096):
                shown += block
                seen(shown.decode(errors="ignore"))
        os.close(ours)
    assert process.returncode == status, shown
    return shown.decode()


def test_a_bar_on_a_terminal(source: Path, written: Path) -> None:
    pytest.importorskip("rich")
    source.write_text("a\nb\n")
    shown = on_a_terminal("cli_tasks:upper", source, "--output", written)
    assert "2/2" in shown and "0 failed" in shown and "running" in shown
    assert "2 succeeded, 0 failed" in shown.splitlines()[-1]
    assert on_a_terminal("cli_tasks:upper", source, "--output", written, "--overwrite", "--quiet") == ""


@pytest.mark.parametrize("columns", [80, 50])
def test_the_bar_counts_what_is_done_and_not_only_what_is_written(
    columns: int, tmp_path: Path, source: Path, written: Path
) -> None:
    pytest.importorskip("rich")
    (gate := tmp_path / "gate").mkdir()
    source.write_text(f"{gate}\na\nset\ndie\n")
    lines_then: list[Any] = []

    def look(shown: str) -> None:
        # The first is held, so nothing is written; the others are done.
        if "3/4" in shown and not (gate / "open").exists():
            lines_then.extend(lines_of(written))
            (gate / "open").touch()

    shown = on_a_terminal(
        *("cli_tasks:of_all_kinds", source, "--output", written, "--workers", 2, "--retries", 1),
        "--keep-going",
        status=1,
        columns=columns,
        seen=look,
    )
    assert lines_then == []
    # Of these the result that is no JSON is found when it is written.
    assert "1 failed" in shown and "2 failed" in shown
    assert ("1 retried" if columns == 80 else "1 again") in shown
    assert "2 succeeded, 2 failed, 1 retried" in shown.splitlines()[-1]
    assert inputs_of(lines_of(written)) == [str(gate), "a", "set", "die"]


def test_lines_count_what_is_done_where_there_is_no_terminal(tmp_path: Path, written: Path) -> None:
    (gate := tmp_path / "gate").mkdir()
    with start("cli_tasks:hold", "--workers", 2, "--output", written) as process:
        assert process.stdin and process.stderr
        process.stdin.write(f"{gate}\na\nb\n")
        process.stdin.flush()
        wait_until(lambda: list(gate.glob("begun-*")))
        # There is one every five seconds at most, when something has ended.
        time.sleep(5.1)
        process.stdin.write("c\n")
        process.stdin.flush()
        shown = process.stderr.readline()
        assert shown.startswith("bounded-executor: 3 done, 0 failed, ")
        assert lines_of(written) == []
        (gate / "open").touch()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_ctrl_c_writes_what_is_finished_and_kills_the_rest(tmp_path: Path, written: Path) -> None:
    (gate := tmp_path / "gate").mkdir()
    with start("cli_tasks:hold", "--workers", 2, "--output", written) as process:
        assert process.stdin
        process.stdin.write(f"a\nb\n{gate}\nc\n")
        process.stdin.flush()
        wait_until(lambda: list(gate.glob("begun-*")))
        wait_until(lambda: len(lines_of(written)) == 2)
        # Standard input is still open.
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert inputs_of(lines_of(written)) == ["a", "b"]
    assert "2 succeeded" in err and "Traceback" not in err
    (child,) = gate.glob("begun-*")
    pid = int(child.name.partition("-")[2])
    wait_until(lambda: not Path("/proc", str(pid)).exists())
    (gate / "open").touch()
    run("cli_tasks:hold", "--workers", 2, "--output", written, "--resume", given=f"a\nb\n{gate}\nc\n")
    assert inputs_of(lines_of(written)) == ["a", "b", str(gate), "c"]


asking = threading.Lock()


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with asking:
            self.server.asked[self.path] += 1  # type: ignore[attr-defined]
        body = f"page {self.path}".encode()
        # Who asked may have been killed.
        with suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def pages() -> Iterator[tuple[str, Counter[str]]]:
    """A server, and how often each of its pages was asked for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        server.asked = Counter()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.asked  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("order", [(), ("--unordered",)], ids=["ordered", "unordered"])
@pytest.mark.parametrize("given_by", ["file", "stdin"])
def test_a_killed_run_is_continued_and_each_page_written_once(
    order: tuple[str, ...], given_by: str, source: Path, written: Path
) -> None:
    with pages() as (address, asked):
        # Every tenth comes twice.
        urls = [f"{address}/{number - number % 10 // 9}" for number in range(300)]
        source.write_text("".join(f"{url}\n" for url in urls))
        options = ["cli_tasks:fetch", "--workers", 2, "--queue-size", 12, "--max-tasks-per-child", 20, *order]
        options += ["--output", written]
        with source.open() as file, start(*options, stdin=file) as process:
            wait_until(lambda: written.exists() and written.read_bytes().count(b"\n") >= 100)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        # As a machine that goes down may leave it.
        whole = written.read_bytes()
        before = whole.count(b"\n")
        assert before < 300
        written.write_bytes(whole[: whole.rindex(b"\n") + 1] + b'{"input": "http://127')
        where = [source] if given_by == "file" else []
        run(*options, *where, "--resume", given="" if where else source.read_text())
        lines = lines_of(written)
        assert written.read_bytes().startswith(whole[: whole.rindex(b"\n") + 1])
        assert Counter(inputs_of(lines)) == Counter(urls)
        if not order:
            assert inputs_of(lines) == urls
        assert all(line["result"] == f"page /{line['input'].rpartition('/')[2]}" for line in lines)
        # What was read and not written when it was killed is all that is asked for again.
        assert sum(asked.values()) <= 300 + 12
        _, err = run(*options, *where, "--resume", given="" if where else source.read_text())
        assert "0 succeeded, 0 failed, 300 written before" in err
        assert lines_of(written) == lines


def test_errors_count_as_written(source: Path, written: Path) -> None:
    source.write_text("1\nbad\n3\n")
    run("cli_tasks:fail_on_bad", source, "--output", written, "--workers", 1, "--queue-size", 1, status=1)
    assert inputs_of(lines_of(written)) == ["1", "bad"]
    run("cli_tasks:fail_on_bad", source, "--output", written, "--resume")
    assert inputs_of(lines_of(written)) == ["1", "bad", "3"]


@pytest.mark.parametrize("given_by", ["file", "stdin"])
@pytest.mark.parametrize("order", [(), ("--unordered",)], ids=["ordered", "unordered"])
def test_an_output_that_does_not_fit_is_told_by_its_line(
    order: tuple[str, ...], given_by: str, source: Path, written: Path
) -> None:
    source.write_text("a\nb\n")
    run("cli_tasks:upper", source, "--output", written)
    source.write_text("a\nother\nc\n")
    before = written.read_bytes()
    where = [source] if given_by == "file" else []
    given = "" if where else source.read_text()
    _, err = run("cli_tasks:upper", *where, "--output", written, "--resume", *order, given=given, status=2)
    assert "its line 2" in err
    if where or not order:
        assert written.read_bytes() == before


def test_a_retry_is_counted_in_the_output() -> None:
    (line,), _ = run("os:_exit", "--json", "--workers", 1, "--retries", 1, given="[3]\n", status=1)
    assert line["attempts"] == 2
    assert "exit status 3" in line["error"]


def test_the_time_of_a_task_is_in_the_output() -> None:
    (line,), _ = run("time:sleep", "--json", "--workers", 1, given="[0.2]\n")
    assert line["seconds"] >= 0.2

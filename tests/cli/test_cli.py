"""The command line, in processes of its own: what goes in, what comes out, what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from cli_runs import COMMAND, inputs_of, lines_of, one_line, run, start
from helpers import script_environment, start_script, wait_until

import bounded_executor


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
    assert set(out[1]) == {"input", "error", "traceback", "seconds", "attempts"}
    first, *_, last = out[1]["traceback"].splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "ValueError: it is bad")
    assert "in fail_on_bad\n" in out[1]["traceback"]
    assert "2 succeeded, 1 failed" in one_line(err)


def test_a_result_that_is_not_json_is_that_lines_error() -> None:
    out, _ = run("cli_tasks:a_set", "--workers", 1, "--keep-going", given="1\nset\n3\n", status=1)
    assert [line.get("result") for line in out] == ["1", None, "3"]
    assert "TypeError: the result is not JSON-serializable" in out[1]["error"]
    assert out[1]["traceback"] is None


def test_a_process_that_dies_is_that_lines_error() -> None:
    out, _ = run("cli_tasks:die", "--workers", 1, "--keep-going", given="1\ndie\n3\n", status=1)
    assert [line.get("result") for line in out] == ["1", None, "3"]
    assert out[1]["error"].startswith("TerminatedWorkerError: ")
    assert out[1]["traceback"] is None


def test_where_a_task_was_that_took_too_long_is_its_traceback() -> None:
    options = ["--json", "--workers", 1, "--task-timeout", 0.5]
    (line,), _ = run("cli_tasks:take_a_nap", *options, given="[100]\n", status=1)
    assert line["error"].startswith("TaskTimeout: ")
    assert "in take_a_nap" in line["traceback"]


def test_a_log_record_is_a_line_as_others_are() -> None:
    options = ["cli_tasks:die", "--workers", 1, "--keep-going"]
    _, err = run(*options, given="die\n1\n", status=1)
    record, summary = err.splitlines()
    assert record.startswith("bounded-executor: cli_tasks.die was not finished: its process ")
    assert summary.startswith("bounded-executor: 1 succeeded, 1 failed")
    _, err = run(*options, "--quiet", given="die\n1\n", status=1)
    assert err == ""


@pytest.mark.parametrize("quiet", [(), ("--quiet",)], ids=["", "quiet"])
def test_log_records_of_all_levels(quiet: tuple[str, ...], source: Path, written: Path) -> None:
    source.write_text("a\n")
    code = """
        import logging, os, sys
        from bounded_executor._cli import main

        def say(file):
            logger = logging.getLogger("bounded_executor")
            logger.info("for information")
            logger.warning("some %s", "warning")
            logger.error("of two\\nlines")
            try:
                len(5)
            except TypeError:
                logger.critical("a mistake", exc_info=True)

        os.fsync = say
        if __name__ == "__main__":
            if "own" in sys.argv:
                sys.argv.remove("own")
                logging.basicConfig(format="mine: %(message)s")
            main(["map", "cli_tasks:upper", *sys.argv[1:], "--overwrite"])
        """

    def said(*options: object) -> str:
        with start_script(code, source, "--output", written, *quiet, *options) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return err

    warning = [] if quiet else ["bounded-executor: some warning"]
    lines = said().splitlines()
    first = [*warning, "bounded-executor: of two lines", "bounded-executor: a mistake"]
    assert lines[: len(first) + 1] == [*first, "Traceback (most recent call last):"]
    # Whoever has set up logging has them as they asked for, and once.
    err = said("own")
    assert "mine: some warning\nmine: of two\nlines\n" in err
    assert "bounded-executor: of" not in err


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
    (["cli_tasks:uper"], "has no 'uper', asked for by 'cli_tasks:uper'. Did you mean 'upper'?"),
    (["cli_tasks:Words.cuont"], "Did you mean 'count'?"),
    (["cli_tasks:words.count"], "Did you mean 'Words'?"),
    (
        ["cli_task:upper"],
        "there is no module 'cli_task', asked for by 'cli_task'. Did you mean 'cli_tasks'?",
    ),
    (["concurrent.future:wait"], "Did you mean 'concurrent.futures'?"),
    (["cli_tasks.upper"], "write it as package.module:function, as cli_tasks:upper"),
    (["cli_tasks:upper", "--preload", "jsno"], "there is no module 'jsno' to preload. Did you mean 'json'?"),
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


def test_a_reader_that_has_enough_ends_the_run_without_a_word() -> None:
    read, write = os.pipe()
    with start("cli_tasks:upper", "--workers", 1, stdout=write) as process:
        os.close(write)
        assert process.stdin and process.stderr
        process.stdin.write("a\n")
        process.stdin.flush()
        with os.fdopen(read) as head:
            assert json.loads(head.readline())["result"] == "A"
        process.stdin.write("b\n")
        process.stdin.flush()
        # Standard input is still open.
        assert process.wait(60) == 141
        assert process.stderr.read() == ""


def test_a_named_pipe_that_is_not_read_any_more_is_told(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    with start("cli_tasks:upper", "--workers", 1, "--output", fifo) as process:
        assert process.stdin and process.stderr
        open(fifo).close()
        process.stdin.write("a\n")
        process.stdin.flush()
        assert process.wait(60) == 2
        assert f"cannot write to {fifo}: Broken pipe" in one_line(process.stderr.read())


def test_standard_error_that_is_not_read_any_more_does_no_harm(source: Path, written: Path) -> None:
    source.write_text("a\nbad\nc\n")
    read, write = os.pipe()
    options = ["--keep-going", "--workers", 1, "--output", written]
    with start("cli_tasks:fail_on_bad", source, *options, stderr=write) as process:
        os.close(write)
        os.close(read)
        assert process.wait(60) == 1
    assert inputs_of(lines_of(written)) == ["a", "bad", "c"]


@pytest.mark.parametrize("quiet", [(), ("--quiet",)], ids=["", "quiet"])
def test_waiting_for_a_terminal_is_told(quiet: tuple[str, ...]) -> None:
    ours, theirs = os.openpty()
    with start("cli_tasks:upper", "--workers", 1, *quiet, stdin=theirs) as process:
        os.close(theirs)
        assert process.stdout and process.stderr
        if not quiet:
            # Nothing was typed yet.
            assert (
                "reading inputs from the terminal, one a line; Ctrl-D ends them" in process.stderr.readline()
            )
        os.write(ours, b"typed\n\x04")
        out, err = process.communicate(timeout=60)
    os.close(ours)
    assert [json.loads(line)["result"] for line in out.splitlines()] == ["TYPED"]
    assert ("1 succeeded" in err) == (not quiet)
    assert "reading" not in err


def test_the_version() -> None:
    done = subprocess.run(
        [*COMMAND[:-1], "--version"], capture_output=True, env=script_environment(), timeout=60, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"bounded-executor {bounded_executor.__version__}\n"


def test_a_retry_is_counted_in_the_output() -> None:
    (line,), _ = run("os:_exit", "--json", "--workers", 1, "--retries", 1, given="[3]\n", status=1)
    assert line["attempts"] == 2
    assert "exit status 3" in line["error"]


def test_the_time_of_a_task_is_in_the_output() -> None:
    (line,), _ = run("time:sleep", "--json", "--workers", 1, given="[0.2]\n")
    assert line["seconds"] >= 0.2

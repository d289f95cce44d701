"""How the command line shows its progress."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from cli_runs import inputs_of, lines_of, on_a_terminal, start
from helpers import start_script, wait_until


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "inputs.txt"


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


def test_lines_have_the_share_and_the_time_left_where_the_number_of_inputs_is_known(
    source: Path, written: Path
) -> None:
    code = """
        import sys
        from bounded_executor._cli import main, progress

        # One line for each task that has ended.
        progress.LINE_SECONDS = 0
        if __name__ == "__main__":
            sys.exit(main(["map", "cli_tasks:upper", *sys.argv[1:]]))
        """
    source.write_text("a\nb\nc\nd\n")
    written.write_text('{"input": "a", "result": "A", "seconds": 0.1, "attempts": 1}\n')
    options = [source, "--workers", 1, "--output", written, "--resume"]
    with start_script(code, *options) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    *lines, summary = err.splitlines()
    assert lines
    for line in lines:
        found = re.fullmatch(
            r"bounded-executor: (\d)/4 \((\d+) %\) done, 0 failed, .*/s, \d running, \d:\d\d, \d:\d\d left",
            line,
        )
        assert found, line
        assert int(found[2]) == 25 * int(found[1])
    assert lines[-1].endswith("0:00 left")
    assert "4 succeeded, 0 failed, 1 of them written before" in summary


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

"""How the command line shows its progress."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cli_runs import inputs_of, lines_of, on_a_terminal, start
from helpers import wait_until


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

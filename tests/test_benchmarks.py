"""The benchmark suite runs, and its statistics are right."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers import TESTS, script_environment

BENCHMARKS = TESTS / "benchmarks"


def start(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS), *options],
        capture_output=True,
        env=script_environment(),
        timeout=60,
        text=True,
        check=False,
    )


def benchmarks(*options: str) -> str:
    done = start(*options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(markdown: str) -> list[list[str]]:
    """The cells of every line of a table."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_list_has_every_case() -> None:
    names = [line.split()[0] for line in benchmarks("--list").splitlines()]
    assert names[:2] == ["recycling", "recycling-2"]
    assert len(set(names)) == len(names) >= 6


def test_a_quick_case_shows_all_that_took_part() -> None:
    out = benchmarks("--quick", "--case", "recycling-2", "--contender", "ours", "Pool")
    head, _, ours, pool = rows(out)
    assert head[1] == "pool" and ours[1] == "ours" and pool[1] == "Pool"
    for row in (ours, pool):
        cells = dict(zip(head, row, strict=True))
        assert cells["rounds"] == "1"
        assert 0 < float(cells["min"]) <= float(cells["median"]) <= float(cells["max"])
    assert pool[-1] == "best peer"


def test_what_does_not_finish_is_said_so() -> None:
    out = benchmarks("--quick", "--limit", "0.05", "--case", "recycling-2", "--contender", "ours")
    assert rows(out)[2][-1] == "did not finish within 0.05 s, 1 of 1"


def test_quick_figures_are_not_published() -> None:
    done = start("--quick", "--write")
    assert done.returncode == 2
    assert "what is published is a whole run" in done.stderr


def test_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from summary import HIGHER, LOWER, Summary, best_of

    slow, fast = Summary.of([30.0, 10.0, 20.0]), Summary.of([40.0, 60.0, 44.0, 46.0])
    assert (slow.median, slow.low, slow.high, slow.count) == (20.0, 10.0, 30.0, 3)
    assert (fast.median, fast.low, fast.high, fast.count) == (45.0, 40.0, 60.0, 4)
    assert fast.ratio_to(slow) == 2.25
    assert best_of([slow, fast], HIGHER) is fast
    assert best_of([slow, fast], LOWER) is slow
    assert best_of([], LOWER) is None
    assert fast.verdict(slow, HIGHER) == "2.25 (better)"
    assert slow.verdict(fast, HIGHER) == "0.44 (worse)"
    assert fast.verdict(slow, LOWER) == "2.25 (worse)"
    assert Summary.of([25.0]).verdict(slow, HIGHER) == "1.25 (within the spread)"

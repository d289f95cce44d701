"""The benchmark suite runs, and its statistics are right."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


SPEED = ["submit", "map", "map-chunks", "task-lengths", "payloads", "scaling-submit", "scaling-map"]
COST = ["queue-size", "lasting", "latency", "parent-cpu"]
ALONE = ["queue-size", "lasting"]


def test_the_list_has_every_case() -> None:
    names = [line.split()[0] for line in benchmarks("--list").splitlines()]
    assert names[: len(SPEED + COST)] == SPEED + COST
    assert names[len(SPEED + COST) :][:2] == ["recycling", "recycling-2"]
    assert len(set(names)) == len(names) >= 17


@pytest.mark.parametrize("case", SPEED + COST)
def test_a_quick_case_of_speed_shows_all_that_took_part(case: str) -> None:
    out = benchmarks("--quick", "--case", case, "--contender", "ours", "Pool")
    tables = re.findall(r"^(?:\|.*\n)+", out, re.MULTILINE)
    assert tables
    for head, _, *body in map(rows, tables):
        assert {row[head.index("pool")] for row in body} == ({"ours"} if case in ALONE else {"ours", "Pool"})
        assert ("against the best peer" in head) == (case not in ALONE)
        assert "note" not in head, body
        for row in body:
            assert float(row[head.index("median")].replace(",", "")) > 0


def test_the_registries_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from cases import CASES
    from contenders import CONTENDERS
    from drawing import COLOURS
    from pictures import PICTURES
    from runner import KINDS

    assert set(SPEED + COST) <= {picture.case for picture in PICTURES} <= set(CASES)
    for case in CASES.values():
        entries = list(case.entries(False))
        # The tiny size is of the same things.
        assert [(one.point, one.contender, one.kind) for one in entries] == [
            (one.point, one.contender, one.kind) for one in case.entries(True)
        ]
        assert len({(one.point, one.contender) for one in entries}) == len(entries)
        for entry in entries:
            assert entry.kind in KINDS and entry.contender in CONTENDERS
            assert set(case.shown) <= set(entry.params)
        if case.name in SPEED + COST:
            assert {entry.contender for entry in entries} <= set(COLOURS)


@pytest.mark.parametrize("bound", [3, None])
def test_the_window(monkeypatch: pytest.MonkeyPatch, bound: int | None) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from adapter import Window

    lock = threading.Lock()
    threads: list[threading.Thread] = []
    unfinished = most = 0

    def submit(task: Any, one: Any, succeeded: Callable[[Any], None], failed: Callable[..., None]) -> None:
        nonlocal unfinished, most
        with lock:
            unfinished += 1
            most = max(most, unfinished)

        def work() -> None:
            nonlocal unfinished
            with lock:
                unfinished -= 1
            try:
                result = task(one)
            except ZeroDivisionError as error:
                failed(error)
            else:
                succeeded(result)

        threads.append(threading.Thread(target=work))
        threads[-1].start()

    window = Window(submit, bound)
    assert sorted(window(abs, range(-50, 0), str)) == sorted(map(str, range(1, 51)))
    assert window(abs, []) == []
    with pytest.raises(ZeroDivisionError):
        window(lambda one: 1 // one, [1, 0, 2])
    assert most >= 1 and (bound is None or most <= bound)
    for thread in threads:
        thread.join()


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_a_page_with_its_pictures(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    cases = ["submit", "scaling-map", "queue-size", "lasting", "latency"]
    benchmarks("--quick", "--case", *cases, "--contender", "ours", "--save", str(kept))
    benchmarks("--load", str(kept), "--write", str(tmp_path))
    page = (tmp_path / "benchmarks.md").read_text()
    pictures = re.findall(r"!\[[^\]]+\]\((images/[^)]+\.svg)\)", page)
    assert len(pictures) == len(cases)
    for picture in pictures:
        assert (tmp_path / picture).read_text().rstrip().endswith("</svg>")


def test_a_quick_case_shows_all_that_took_part() -> None:
    out = benchmarks("--quick", "--case", "recycling-2", "--contender", "ours", "Pool")
    head, _, ours, pool = rows(out)
    assert head[1] == "pool" and ours[1] == "ours" and pool[1] == "Pool"
    for row in (ours, pool):
        cells = dict(zip(head, row, strict=True))
        assert cells["rounds"] == "1"
        assert 0 < float(cells["min"]) <= float(cells["median"]) <= float(cells["max"])
    assert pool[head.index("against the best peer")] == "best peer"


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

"""One process keeps very many workers busy."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import PACKAGE_ROOT, TESTS, script_environment
from virtual import VirtualExecutor, spend

from bounded_executor import BoundedExecutor

Give = Callable[[BoundedExecutor, float, int], None]


def submit(ex: BoundedExecutor, seconds: float, tasks: int) -> None:
    for number in range(tasks):
        ex.submit(spend, seconds, number)


def map_ordered(ex: BoundedExecutor, seconds: float, tasks: int) -> None:
    assert list(ex.map(spend, [seconds] * tasks, range(tasks))) == list(range(tasks))


def map_unordered(ex: BoundedExecutor, seconds: float, tasks: int) -> None:
    assert sorted(ex.map(spend, [seconds] * tasks, range(tasks), unordered=True)) == list(range(tasks))


def asubmit(ex: BoundedExecutor, seconds: float, tasks: int) -> None:
    async def give() -> None:
        for number in range(tasks):
            await ex.asubmit(spend, seconds, number)

    asyncio.run(give())


EACH = pytest.mark.parametrize("give", [submit, map_ordered, map_unordered, asubmit])


def keep_busy(give: Give, workers: int, seconds: float, tasks: int, window: int | None) -> VirtualExecutor:
    """Return the workers after so many tasks."""
    with VirtualExecutor(workers) as engine, BoundedExecutor(engine, window=window) as ex:
        give(ex, seconds, tasks)
        ex.shutdown()
        assert ex.stats().succeeded == tasks
        assert ex.stats().above_bound == 0
        assert engine.most <= (window or workers + workers // 20)
    return engine


def best_share(enough: float, tries: int, *run: Any) -> float:
    """Return the largest share of their time that the workers were busy, or one that is enough.

    It is counted from the first start to the last, so with the time in which they get their first tasks. What
    else the machine does takes from it, and adds nothing; hence several tries.
    """
    shares = []
    for _ in range(tries):
        shares.append(keep_busy(*run).busy_share(run[1]))
        if shares[-1] >= enough:
            break
    return max(shares)


@EACH
def test_a_hundred_workers_are_kept_busy(give: Give) -> None:
    assert best_share(0.9, 5, give, 100, 0.2, 1000, None) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("window", [None, 1100])
@EACH
def test_a_thousand_workers_are_kept_busy(give: Give, window: int | None) -> None:
    # Coroutines cost the most, and with the default window nothing waits with the workers meanwhile.
    enough = 0.95
    # Twenty seconds and more: each worker has 22 tasks of one second.
    assert best_share(enough, 3, give, 1000, 1.0, 22_000, window) >= enough


def test_no_task_ends_before_its_time() -> None:
    with VirtualExecutor(4, latency=0.02) as engine, BoundedExecutor(engine, window=8) as ex:
        deque(ex.map(spend, [0.05] * 40), maxlen=0)
    # Ten rounds, the last of which begins when nine have passed.
    assert engine.span >= 9 * 0.05
    assert 0 < engine.busy_share(4) <= 1.0


PAGE = PACKAGE_ROOT / "docs" / "scale.md"


def figures(page: Path) -> dict[str, str]:
    """What stands in the page between the comments that name it."""
    found = re.findall(r"^% figures: (\S+)\n(.*?)^% end\n", page.read_text(), re.DOTALL | re.MULTILINE)
    return {name: text.strip() for name, text in found}


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not installed with the package")
def test_the_program_writes_its_tables_into_the_page(tmp_path: Path) -> None:
    shutil.copy(PAGE, tmp_path)
    before = figures(PAGE)
    program = [sys.executable, str(TESTS / "benchmarks" / "scale.py")]
    options = ["--quick", "--rounds", "1", "--case", "calls", "--write", str(tmp_path)]
    done = subprocess.run(
        [*program, *options],
        capture_output=True,
        env=script_environment(),
        timeout=100,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    after = figures(tmp_path / "scale.md")
    assert set(after) == set(before) == {"machine", "calls", "workers", "busy", "window", "queue", "sizes"}
    changed = {name for name in after if after[name] != before[name]}
    assert changed <= {"machine", "calls", "workers"}
    for name in ("calls", "workers"):
        head, _, *rows = [line for line in after[name].splitlines() if line.startswith("|")]
        assert [row.split("|")[1].strip() for row in rows][:3] == ["submit", "asubmit", "map"]
        assert {row.count("|") for row in rows} == {head.count("|")}

"""The promise that this package is for: 20 workers on a server with 256 MB, by the kernel's own counters."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from cgroups import MemoryGroup, memory_group
from helpers import PACKAGE_ROOT, run_script, script_environment
from platforms import needs_fork, needs_proc

MB = 1 << 20
CRAWL = PACKAGE_ROOT / "docs" / "examples" / "crawl.py"


def run(group: MemoryGroup, *arguments: object, seconds: float = 100) -> str:
    """Run Python with these arguments inside the group; return what it printed."""
    done = subprocess.run(
        group.command(sys.executable, *map(str, arguments)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=script_environment(),
        timeout=seconds,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@needs_proc
@pytest.mark.parametrize("pages", [1_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_the_crawl_runs_in_256_megabytes(pages: int) -> None:
    with memory_group(256 * MB) as group:
        printed = run(group, CRAWL, "--pages", pages, seconds=max(100, pages / 20))
        assert group.kills() == 0
        assert group.peak() <= 200 * MB
    assert re.search(rf"\b{pages:,} of {pages:,}", printed), printed


BIG_TASKS = """
    import logging, sys, tasks
    from bounded_executor import BoundedProcessPoolExecutor

    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    count = int(sys.argv[1])
    with BoundedProcessPoolExecutor(20, queue_size=120, max_memory_total="auto") as ex:
        results = [ex.submit(tasks.take_memory, 30 * 2**20, 0.1, number) for number in range(count)]
        assert [future.result() for future in results] == list(range(count))
    assert ex.stats().children_crashed == 0
"""


@needs_proc
@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_tasks_that_do_not_fit_side_by_side_are_run_one_after_the_other(count: int) -> None:
    with memory_group(256 * MB) as group:
        printed = run(group, "-c", textwrap.dedent(BIG_TASKS), count)
        assert group.kills() == 0
    # Said once, and with the limit that is kept.
    assert re.fullmatch(r"\d+ tasks run at once instead of 20, .*control group.*\n", printed), printed


WARM = """
    import sys, tasks
    from bounded_executor import BoundedProcessPoolExecutor
    from bounded_executor._memory import cgroups as _allowance

    with BoundedProcessPoolExecutor(20, preload=sys.argv[1:]) as ex:
        for _ in range(10):
            assert list(ex.map(tasks.nap, [0.02] * 20, chunksize=1)) == [None] * 20
        assert ex.stats().children == 20
        print(_allowance.tree_allowance(0).used())
"""


@needs_fork("they share no memory")
def test_twenty_warm_workers_share_most_of_their_memory() -> None:
    assert int(run_script(WARM)) <= 140 * MB


@needs_fork("they share no memory")
def test_what_is_preloaded_is_there_once_for_twenty_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Forty megabytes of small objects: each of them would be copied if anything touched them.
    (tmp_path / "heavy.py").write_text('DATA = [f"{number:080}" for number in range(310_000)]\n')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert int(run_script(WARM, "heavy")) <= 200 * MB

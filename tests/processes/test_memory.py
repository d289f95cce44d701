"""The parent's memory does not grow with the number of tasks, nor a worker's with what a task is given."""

from __future__ import annotations

import pytest
import tasks
from helpers import PATIENCE, run_script

from bounded_executor import BoundedProcessPoolExecutor

LIMIT_KB = 60_000

SCRIPT = """
    import sys, tasks
    from bounded_executor import BoundedProcessPoolExecutor

    def inputs(count):
        for number in range(count):
            yield number.to_bytes(8, "big") * 128

    count = int(sys.argv[1])
    with BoundedProcessPoolExecutor(2) as ex:
        if sys.argv[2] == "map":
            assert sum(1 for _ in ex.map(tasks.give, inputs(count))) == count
        else:
            for one in inputs(count):
                ex.submit(tasks.give, one)
    assert ex.stats().succeeded == count
    with open("/proc/self/status") as status:
        print(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""

WAYS = ["map", "submit"]


def peak_kb(count: int, way: str, seconds: float) -> int:
    return int(run_script(SCRIPT, count, way, seconds=seconds))


@pytest.mark.parametrize("way", WAYS)
def test_thirty_thousand_inputs(way: str) -> None:
    assert peak_kb(30_000, way, 100) < LIMIT_KB


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_million_inputs(way: str) -> None:
    assert peak_kb(1_000_000, way, 1_700) < LIMIT_KB


def test_a_task_has_its_argument_and_the_pickle_of_it_in_memory_and_no_more() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        before, _ = ex.submit(tasks.resident_kb, b"").result(PATIENCE)
        during, size = ex.submit(tasks.resident_kb, bytes(50_000_000)).result(PATIENCE)
    assert size == 50_000_000
    assert during - before < 2.5 * size / 1024

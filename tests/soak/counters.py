"""``python tests/soak/counters.py --minutes N``: the same map again and again, by several programs at once.

An unordered map of 20,000 items that return a ``collections.Counter``, two workers, nothing set: results that
are no atoms, in great numbers, on a machine that has too few processors for all. Every result is checked. A
line of progress comes once a minute, and at the end a summary. The exit status is 0 only if no run was wrong,
failed or hung.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn

sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "support"))

import jobs
import programs
from program import Program, resident_bytes
from tally import Tally

from bounded_executor import BoundedProcessPoolExecutor

ITEMS = 20_000
WORKERS = 2


def main() -> int:
    """Run for the time that was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python tests/soak/counters.py", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N", help="default: %(default)s")
    parser.add_argument("--programs", type=int, default=3, metavar="K", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="a name, nothing is drawn")
    parser.add_argument("--alone", action="store_true", help="be one of them, and report in JSON")
    options = parser.parse_args()
    if options.alone:
        faulthandler.enable()
        run(options.minutes, options.seed)
    return programs.run(
        [str(Path(__file__).resolve())], options.programs, options.minutes, options.seed, rows
    )


def run(minutes: float, seed: int) -> NoReturn:
    """Run the map for so many minutes."""
    program = Program(seed, [])
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end or not program.memory:
        with program.watchdog.over("a run"):
            run_once(program.tally)
        program.memory.append(resident_bytes())
    program.end()


def run_once(tally: Tally) -> None:
    """Run the map once, and look at what it gives."""
    results: list[Counter[int]] = []
    try:
        with BoundedProcessPoolExecutor(WORKERS) as ex:
            results += ex.map(jobs.count, range(ITEMS), unordered=True)
    except BaseException as error:
        tally.complain("broken", f"after {tally['rounds']} runs: {error!r}")
    else:
        found = Counter(next(iter(one)) for one in results)
        right = len(results) == len(found) == ITEMS and all(
            one == jobs.count(next(iter(one))) for one in results
        )
        if not right:
            again = [number for number, count in found.items() if count > 1]
            tally.complain(
                "wrong",
                f"{len(results)} results of {ITEMS} items, {len(again)} of them again, such as {again[:3]}",
            )
        tally.add("right", len(found))
    tally.add("rounds")


def rows(tally: Tally) -> list[tuple[str, object]]:
    """Return the lines of the summary."""
    return [("runs", f"{tally['rounds']:,}"), ("right", f"{tally['right']:,}")]


if __name__ == "__main__":
    programs.leave(main())

"""``python tests/soak --minutes N``: everything at once, with faults, for as long as you like.

Executors of random settings are used for some seconds each by several threads, by coroutines, and by a main
thread whose signal handler raises, while their processes, and the program itself, are killed and stopped at
random. Every result is checked, and each task notes that it begins, so that one that runs twice is found. A
line of progress comes once a minute, and at the end a summary. The exit status is 0 only if nothing was lost,
wrong, run twice, leaked or hung, and no process was left.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "support"))

import program
import programs
from tally import Tally


def main() -> int:
    """Run for the time that was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python tests/soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="default: a random one")
    parser.add_argument("--programs", type=int, default=1, metavar="K", help="at once; default: %(default)s")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=program.EXTRAS,
        help="leave this out; may be repeated",
    )
    parser.add_argument("--alone", action="store_true", help="be one of them, and report in JSON")
    options = parser.parse_args()
    if options.alone:
        faulthandler.enable()
        program.run(options.minutes, options.seed, options.without)
    script = [str(Path(__file__).resolve().parent), *(f"--without={name}" for name in options.without)]
    return programs.run(script, options.programs, options.minutes, options.seed, rows)


def rows(tally: Tally) -> list[tuple[str, object]]:
    """Return the lines of the summary."""
    found = [("executors", tally["rounds"])]
    found += [(f"injected: {name}", n) for name, n in tally.named("injected ").items()]
    found += [(f"failed as expected: {name}", n) for name, n in tally.named("expected ").items()]
    found += [(f"exceptions in the collector: {name}", n) for name, n in tally.named("ignored ").items()]
    names = ("submitted", "accepted", "right", "cancelled", "cancelled in the line", "interrupted calls")
    names += ("loops closed too early", "imports during a shutdown", "killed by a fault", "late by a fault")
    names += ("retried", "timed out", "replaced")
    found += [(name, tally[name]) for name in names]
    return [(label, f"{value:,}") for label, value in found]


if __name__ == "__main__":
    programs.leave(main())

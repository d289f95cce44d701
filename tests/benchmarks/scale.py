"""``python tests/benchmarks/scale.py``: what one producer can do for very many workers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import facts
from cases_scale import SCALE, SCALE_PICTURES
from measure import CaseResult, measure_case

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
# Task lengths for which it is told how many workers a producer keeps busy.
SECONDS = (0.01, 0.1, 1.0, 10.0, 60.0)
PROGRAM = "python tests/benchmarks/scale.py"


def main(arguments: Sequence[str]) -> None:
    """Measure, print the tables, and put them into the page if asked to."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=main.__doc__)
    parser.add_argument("--case", nargs="+", metavar="NAME", choices=SCALE, default=list(SCALE))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to check the program")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep all measurements")
    parser.add_argument("--load", type=Path, metavar="FILE", help="take what was saved, and measure nothing")
    parser.add_argument(
        "--write",
        nargs="?",
        type=Path,
        const=DOCS,
        metavar="FOLDER",
        help="put the tables of these cases into scale.md, and draw the pictures; docs if none is given",
    )
    options = parser.parse_args(arguments)
    if options.write == DOCS and options.quick:
        parser.error("what is published is of ordinary size")
    if options.load:
        saved = json.loads(options.load.read_text())
        run_facts, results = saved["facts"], [CaseResult.from_json(one) for one in saved["results"]]
    else:
        run_facts, results = _measure(options)
    blocks = {"machine": _machine(run_facts), **_blocks(results, _when(run_facts))}
    print("\n\n".join(blocks.values()))
    if options.save:
        kept = {"facts": run_facts, "results": [dataclasses.asdict(one) for one in results]}
        options.save.write_text(json.dumps(kept))
    if options.write:
        _write(options.write, blocks, results)


def _measure(options: argparse.Namespace) -> tuple[dict[str, str], list[CaseResult]]:
    run_facts = facts.gather(PROGRAM, options.rounds)
    start = time.monotonic()
    results = [
        measure_case(
            SCALE[name],
            rounds=options.rounds,
            quick=options.quick,
            only=["ours"],
            limit=None,
            tell=lambda line: print(line, file=sys.stderr, flush=True),
        )
        for name in options.case
    ]
    facts.finish(run_facts, time.monotonic() - start)
    return run_facts, results


def _machine(run_facts: dict[str, str]) -> str:
    shown = ("Python", "processor", "cores this process may use")
    return _table(["", ""], [(name, run_facts[name]) for name in shown])


def _when(run_facts: dict[str, str]) -> str:
    # With each table: the tables may be of several runs.
    load = [run_facts[f"load average at the {when}"] for when in ("start", "end")]
    return (
        f"Measured {run_facts['date']}, rounds: {run_facts['rounds']}, load average of the machine "
        f"{load[0]} at the start and {load[1]} at the end."
    )


def _blocks(results: Sequence[CaseResult], when: str) -> dict[str, str]:
    blocks = {}
    for result in results:
        blocks[result.case] = f"{_table(*_figures(result))}\n\n{when}"
        if result.case == "calls":
            blocks["workers"] = _table(["given by", *(f"{one:g} s" for one in SECONDS)], _workers(result))
    return blocks


def _figures(result: CaseResult) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of a case's table: medians, the first figure with its spread."""
    case = SCALE[result.case]
    lengths = len({row.params.get("seconds") for row in result.rows}) > 1
    head = [*(["tasks of"] if lengths else []), case.points, *(figure.label for figure in case.figures)]
    body = []
    for row in result.rows:
        cells = [*([f"{row.params['seconds']:g} s"] if lengths else []), row.point]
        for figure in case.figures:
            found = row.summary(figure.key)
            if found is None:
                cells.append(row.note())
                continue
            numbers = [f"{one:,.{figure.digits}f}" for one in (found.median, found.low, found.high)]
            spread = f" ({numbers[1]} to {numbers[2]})" if figure is case.figures[0] else ""
            cells.append(numbers[0] + spread)
        body.append(cells)
    return head, body


def _workers(result: CaseResult) -> Iterator[list[str]]:
    """Yield, for each call, how many workers the tasks of a whole core are enough for."""
    for row in result.rows:
        found = row.summary("core")
        if found is not None:
            yield [row.point, *(f"{_round(found.median * seconds):,}" for seconds in SECONDS)]


def _round(number: float) -> int:
    """Keep two digits."""
    return int(float(f"{number:.1e}"))


def _table(head: Sequence[str], body: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body))


def _write(folder: Path, blocks: dict[str, str], results: Sequence[CaseResult]) -> None:
    """Replace what stands in the page between the comments that name a block."""
    page = folder / "scale.md"
    text = page.read_text()
    for name, block in blocks.items():
        text, count = re.subn(
            rf"(% figures: {name}\n).*?(% end\n)",
            lambda found, block=block: f"{found[1]}\n{block}\n\n{found[2]}",
            text,
            flags=re.DOTALL,
        )
        assert count == 1, f"the page has no place for {name}"
    page.write_text(text)
    for picture in SCALE_PICTURES:
        for result in results:
            if result.case == picture.case:
                picture.save(result, folder / "images" / f"{picture.name}.svg")


if __name__ == "__main__":
    main(sys.argv[1:])

"""``python tests/benchmarks``: our pool and others side by side, on the same work."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import facts
import report
from cases import CASES
from contenders import CONTENDERS
from measure import CaseResult, measure_case
from pictures import PICTURES

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PUBLISHED_ROUNDS = 5
QUICK_LIMIT = 10.0


def main(arguments: Sequence[str]) -> None:
    """Measure, print the tables, and write the page if asked to."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        for case in CASES.values():
            print(f"{case.name:20} {case.title}")
        return
    problem = _refusal(options)
    if problem:
        parser.error(problem)
    if options.load:
        known = json.loads(options.load.read_text())
        if _publishes(options) and not known["whole"]:
            parser.error("what was saved is not a whole run in ordinary size")
        run_facts, results = known["facts"], [CaseResult.from_json(one) for one in known["results"]]
        print("\n".join(report.section(result) for result in results))
    else:
        run_facts, results = _measure(options)
    if options.write:
        _write(options.write, results, run_facts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=main.__doc__)
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--case", nargs="+", metavar="NAME", choices=CASES, help="only these cases")
    parser.add_argument(
        "--contender",
        nargs="+",
        metavar="NAME",
        choices=CONTENDERS,
        help=f"only these of {', '.join(CONTENDERS)}",
    )
    parser.add_argument("--rounds", type=int, help=f"default {PUBLISHED_ROUNDS}")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="per measurement; default: the case's")
    parser.add_argument("--quick", action="store_true", help="tiny sizes and one round, to check the suite")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep all measurements, after each case")
    parser.add_argument("--load", type=Path, metavar="FILE", help="take what was saved, and measure nothing")
    parser.add_argument(
        "--write",
        nargs="?",
        type=Path,
        const=DOCS,
        metavar="FOLDER",
        help="write benchmarks.md and its pictures, to docs if no folder is given",
    )
    return parser


def _refusal(options: argparse.Namespace) -> str | None:
    if options.rounds is not None and options.rounds < 1:
        return "there has to be a round"
    if _publishes(options) and not options.load and not _is_whole(options):
        return f"what is published is a whole run in ordinary size, of at least {PUBLISHED_ROUNDS} rounds"
    return None


def _publishes(options: argparse.Namespace) -> bool:
    return options.write is not None and options.write.resolve() == DOCS


def _is_whole(options: argparse.Namespace) -> bool:
    enough = options.rounds is None or options.rounds >= PUBLISHED_ROUNDS
    return enough and not (options.quick or options.case or options.contender)


def _command(options: argparse.Namespace) -> str:
    """Write down what was measured; where it was saved to is nobody's concern."""
    parts = ["python", "tests/benchmarks"]
    for name in ("case", "contender"):
        parts += [f"--{name}", *getattr(options, name)] if getattr(options, name) else []
    parts += ["--rounds", str(options.rounds)] if options.rounds else []
    parts += ["--limit", f"{options.limit:g}"] if options.limit else []
    parts += ["--quick"] if options.quick else []
    parts += ["--write"] if _is_whole(options) else []
    return " ".join(parts)


def _measure(options: argparse.Namespace) -> tuple[dict[str, str], list[CaseResult]]:
    rounds = options.rounds or (1 if options.quick else PUBLISHED_ROUNDS)
    run_facts = facts.gather(_command(options), rounds)
    start = time.monotonic()
    results = []
    for name in options.case or CASES:
        result = measure_case(
            CASES[name],
            rounds=rounds,
            quick=options.quick,
            only=options.contender or CONTENDERS,
            limit=options.limit or (QUICK_LIMIT if options.quick else None),
            tell=_tell,
        )
        print(report.section(result), flush=True)
        results.append(result)
        if options.save:
            facts.finish(run_facts, time.monotonic() - start)
            saved = {
                "whole": _is_whole(options) and len(results) == len(CASES),
                "facts": run_facts,
                "results": [dataclasses.asdict(one) for one in results],
            }
            options.save.write_text(json.dumps(saved))
    facts.finish(run_facts, time.monotonic() - start)
    return run_facts, results


def _write(folder: Path, results: Sequence[CaseResult], run_facts: dict[str, str]) -> None:
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        for result in results:
            if result.case == picture.case and picture.wanted(result):
                picture.save(result, images / f"{picture.name}.svg")
    (folder / "benchmarks.md").write_text(report.page(results, run_facts))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

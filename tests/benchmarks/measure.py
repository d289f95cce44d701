"""Runs the measurements, each in a fresh process, the contenders taking turns."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from case import Case, Entry
from contenders import CONTENDERS
from processes import kill_all
from summary import Summary

RUNNER = Path(__file__).with_name("runner.py")
# Who has run out of time this often at a point, and never finished, is not given the remaining rounds.
TRIES = 2

Tell = Callable[[str], None]


@dataclass
class Outcome:
    """One measurement: what it yielded, what went wrong, or first the one and then the other."""

    values: dict[str, Any] | None
    problem: str | None = None
    timed_out: bool = False


@dataclass
class Row:
    """All measurements of one contender at one point."""

    point: str
    contender: str
    params: dict[str, Any]
    missing: str | None = None
    outcomes: list[Outcome] = field(default_factory=list)

    def summary(self, key: str) -> Summary | None:
        """Summarize a figure over the rounds that finished."""
        values = [one.values[key] for one in self.outcomes if one.values is not None]
        return Summary.of(values) if values else None

    def note(self) -> str:
        """Say what went wrong, and how often."""
        if self.missing:
            return self.missing
        problems = [one.problem for one in self.outcomes if one.problem]
        kinds = list(dict.fromkeys(problems))
        return "; ".join(f"{kind}, {problems.count(kind)} of {len(self.outcomes)}" for kind in kinds)

    @property
    def given_up(self) -> bool:
        """Whether further rounds are not worth their time."""
        finished = any(one.values is not None for one in self.outcomes)
        return bool(self.missing) or (not finished and sum(one.timed_out for one in self.outcomes) >= TRIES)


@dataclass
class CaseResult:
    """All measurements of one case."""

    case: str
    rows: list[Row]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CaseResult:
        """Make one again from what ``dataclasses.asdict`` made of it."""
        rows = [
            Row(**{**row, "outcomes": [Outcome(**one) for one in row["outcomes"]]}) for row in data["rows"]
        ]
        return cls(data["case"], rows)


def measure_case(
    case: Case, *, rounds: int, quick: bool, only: Collection[str], limit: float | None, tell: Tell
) -> CaseResult:
    """Measure a case: in each round every contender once, one after the other."""
    entries = [entry for entry in case.entries(quick) if entry.contender in only]
    rows = []
    for entry in entries:
        missing = CONTENDERS[entry.contender].missing(entry.params.get("every"))
        rows.append(Row(entry.point, entry.contender, entry.params, missing))
    for number in range(rounds):
        for entry, row in zip(entries, rows, strict=True):
            where = f"{case.name} {entry.point} {entry.contender}, round {number + 1} of {rounds}"
            if row.given_up:
                tell(f"{where}: left out, {row.note()}")
                continue
            outcome = _measure(entry, limit or case.limit, tell)
            row.outcomes.append(outcome)
            shown = {key: value for key, value in (outcome.values or {}).items() if key != "samples"}
            tell(f"{where}: {' '.join(filter(None, [json.dumps(shown) if shown else '', outcome.problem]))}")
    return CaseResult(case.name, rows)


def _measure(entry: Entry, limit: float, tell: Tell) -> Outcome:
    spec = {"contender": entry.contender, "kind": entry.kind, "params": entry.params}
    # Files and no pipes: a process that outlives the measurement would hold a pipe open.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [sys.executable, str(RUNNER), json.dumps(spec)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            kill_all(process.pid)
            process.wait()
        return _judge(status, limit, _text(out), _text(err), tell)


def _judge(status: int | None, limit: float, out: str, err: str, tell: Tell) -> Outcome:
    line = out.strip().rpartition("\n")[2]
    values = json.loads(line) if line else None
    if status == 0 and values is not None:
        return Outcome(values)
    if status is None:
        what = "did not finish" if values is None else "was measured, but did not end"
        return Outcome(values, f"{what} within {limit:g} s", timed_out=True)
    last = err.strip().rpartition("\n")[2]
    tell(f"  {last}")
    if status < 0:
        how = f"killed by {signal.Signals(-status).name}"
    else:
        name = last.partition(":")[0].rpartition(".")[2]
        how = f"crashed with {name}" if name.isidentifier() else f"exit status {status}"
    return Outcome(values, f"{'did not finish' if values is None else 'was measured, but'}: {how}")


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()

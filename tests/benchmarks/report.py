"""Renders results as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from case import Case, Figure
from cases import CASES
from contenders import CONTENDERS
from measure import CaseResult, Row
from pictures import PICTURES
from summary import HIGHER, Summary, best_of

HEAD = """# Benchmarks

This page is written by a program, from measurements; nothing in it is typed in by hand. To repeat it,
in the project's top folder, with the dependency group `bench` installed:

```sh
{command}
```

The machine and the versions:

{facts}

How it is measured:

- Each measurement has a fresh interpreter to itself. In each round the pools take turns, so that whatever
  else the machine does in an hour meets all of them.
- All do the same work. Unless a case says otherwise, each has at most
  6 unfinished tasks per worker: by its own bound where it has one, or else by a semaphore that is released
  in the callback. By map there is no such limit; each has its default.
- Shown are the median, the smallest and the largest of the rounds. "Against the best peer" is the median
  divided by that of the best pool that is not ours. It is "within the spread", and neither a win nor a loss,
  where a measurement of the one could have been one of the other.
- What does not finish in time, or crashes, is said to have not finished. Whoever has run out of time twice
  at a point, and never finished there, is given no further rounds.

The pools:

{pools}

## In short

{short}
"""


def page(results: Sequence[CaseResult], facts: Mapping[str, str]) -> str:
    """Return the whole page."""
    used = {row.contender for result in results for row in result.rows}
    head = HEAD.format(
        command=facts["command"],
        facts="\n".join(
            _lines(["", ""], [[name, text] for name, text in facts.items() if name != "command"])
        ),
        pools="\n".join(f"- {name}: {one.about}." for name, one in CONTENDERS.items() if name in used),
        short="\n".join(_short(results)),
    )
    return head + "".join("\n" + section(result) for result in results)


def section(result: CaseResult) -> str:
    """Return a case's part of the page."""
    case = CASES[result.case]
    parts = [f"## {case.title}", f"`--case {case.name}`. {case.what}"]
    parts += [
        f"![{picture.alt}](images/{picture.name}.svg)"
        for picture in PICTURES
        if picture.case == case.name and picture.wanted(result)
    ]
    for figure in case.figures:
        parts.append(f"**{_heading(figure)}**")
        parts.append("\n".join(_table(case, figure, result.rows)))
    return "\n\n".join(parts) + "\n"


def _heading(figure: Figure) -> str:
    label = figure.label[0].upper() + figure.label[1:]
    return f"{label} ({'more' if figure.better == HIGHER else 'less'} is better)"


def best_peer(rows: Sequence[Row], point: str, figure: Figure) -> tuple[Row, Summary] | None:
    """Return who of the others is best at a point."""
    found = [
        (row, summary)
        for row in rows
        if row.point == point
        and not CONTENDERS[row.contender].ours
        and (summary := row.summary(figure.key)) is not None
    ]
    best = best_of([summary for _, summary in found], figure.better)
    return next((pair for pair in found if pair[1] is best), None)


def _table(case: Case, figure: Figure, rows: Sequence[Row]) -> list[str]:
    noted = any(row.note() for row in rows)
    compared = _has_peers(rows)
    head = [*([case.points] if case.points else []), "pool", *case.shown]
    head += ["rounds", "median", "min", "max"]
    head += [*(["against the best peer"] if compared else []), *(["note"] if noted else [])]
    body = []
    for row in rows:
        cells = [*([row.point] if case.points else []), row.contender]
        cells += [str(row.params[name]) for name in case.shown]
        summary = row.summary(figure.key)
        best = best_peer(rows, row.point, figure)
        if summary is None:
            cells += ["0", "-", "-", "-", *(["-"] if compared else [])]
        else:
            numbers = (summary.median, summary.low, summary.high)
            cells += [str(summary.count), *(f"{one:,.{figure.digits}f}" for one in numbers)]
            cells += [_against(row, summary, best, figure)] if compared else []
        body.append([*cells, *([row.note()] if noted else [])])
    return list(_lines(head, body))


def _has_peers(rows: Sequence[Row]) -> bool:
    return any(not CONTENDERS[row.contender].ours for row in rows)


def _against(row: Row, summary: Summary, best: tuple[Row, Summary] | None, figure: Figure) -> str:
    if best is None:
        return "no peer finished"
    return "best peer" if best[0] is row else summary.verdict(best[1], figure.better)


def _short(results: Sequence[CaseResult]) -> Iterator[str]:
    body = []
    for result in results:
        case = CASES[result.case]
        if not _has_peers(result.rows):
            continue
        for figure in case.figures:
            for row in result.rows:
                summary = row.summary(figure.key)
                if not CONTENDERS[row.contender].ours:
                    continue
                best = best_peer(result.rows, row.point, figure)
                where = f"{case.name} ({case.points}: {row.point})" if case.points else case.name
                mine = row.note() if summary is None else f"{summary.median:,.{figure.digits}f}"
                peer = f"{best[1].median:,.{figure.digits}f} ({best[0].contender})" if best else "-"
                against = _against(row, summary, best, figure) if summary else "-"
                body.append([where, figure.label, row.contender, mine, peer, against])
    return _lines(["case", "figure", "of ours", "median", "best peer", "against the best peer"], body)


def _lines(head: Sequence[str], body: Sequence[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *body):
        yield "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"

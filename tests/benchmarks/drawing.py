"""Draws results in general; matplotlib is imported only when there is something to draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contenders import CONTENDERS
from measure import CaseResult, Row
from summary import Summary

# Told apart by the colour-blind as well; ours is the strong one.
COLOURS = {
    "ours": "#0b5fa5",
    "ours-preload": "#4a9fe0",
    "Pool": "#d55e00",
    "Pool-imap": "#f0a060",
    "Pool-imap-bound": "#c8803c",
    "ProcessPoolExecutor": "#a04080",
    "pebble": "#009e73",
    "mpire": "#b08a00",
    "billiard": "#777777",
    "deadpool": "#7a4a2b",
    "loky": "#56b4a9",
    "joblib": "#c0a0d8",
}
MARKERS = dict(zip(COLOURS, "ooDd<sv^P*Xh", strict=True))

Drawn = Sequence[tuple[Row, Summary]]
GRID = "#dddddd"


@dataclass(frozen=True)
class Picture:
    """A picture of a case; ``name`` is its file's, ``alt`` says what it shows."""

    name: str
    case: str
    alt: str
    draw: Callable[[Any, CaseResult], None]
    size: tuple[float, float]

    def wanted(self, result: CaseResult) -> bool:
        """Whether there is anything to draw."""
        return any(one.values for row in result.rows for one in row.outcomes)

    def save(self, result: CaseResult, path: Path) -> None:
        """Draw into a file, whose suffix says which format."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        style: dict[Any, Any] = {
            "svg.hashsalt": self.name,
            # Text stays text, which keeps the files small.
            "svg.fonttype": "none",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "savefig.facecolor": "white",
        }
        with pyplot.rc_context(style):
            figure, axes = pyplot.subplots(figsize=self.size, layout="constrained")
            self.draw(axes, result)
            # Without a date the same results give the same bytes.
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(path, metadata=metadata, dpi=100)
            pyplot.close(figure)


def drawn(rows: Sequence[Row], key: str) -> Drawn:
    """Return the rows that have a figure, with it."""
    return [(row, summary) for row in rows if (summary := row.summary(key)) is not None]


def by_point(result: CaseResult, key: str, heading: str = "{}") -> list[tuple[str, Drawn]]:
    """Return what there is of a figure at each point, under a heading that names the point."""
    points = dict.fromkeys(row.point for row in result.rows)
    return [
        (heading.format(point), drawn([row for row in result.rows if row.point == point], key))
        for point in points
    ]


def bars(
    axes: Any,
    groups: Sequence[tuple[str, Drawn]],
    below: str,
    label: Callable[[Row, Summary], str],
    *,
    of_longest: bool = False,
) -> None:
    """Draw a bar for each contender, in groups with headings.

    Args:
        axes: where to.
        groups: headings, which may be empty, and what to draw below each.
        below: what the bars show.
        label: what to write beside a bar.
        of_longest: draw percentages of each group's longest bar, for groups of different magnitude.
    """
    position = 0.0
    ticks, labels, ends = [], [], []
    for heading, rows in groups:
        if not rows:
            continue
        position += 1.0
        if heading:
            beside = {"xytext": (4, 0), "textcoords": "offset points"}
            axes.annotate(heading, (0, position), weight="bold", va="center", **beside)
            position += 0.9
        scale = 100 / max(summary.median for _, summary in rows) if of_longest else 1.0
        for row, summary in rows:
            spread = [[summary.median - summary.low], [summary.high - summary.median]]
            axes.barh(
                position,
                summary.median * scale,
                0.7,
                xerr=[[one[0] * scale] for one in spread],
                color=COLOURS[row.contender],
                ecolor="black",
                capsize=3,
            )
            ends.append((summary.high * scale, position, label(row, summary)))
            ticks.append(position)
            labels.append(row.contender)
            position += 1.0
    widest = max((end for end, _, _ in ends), default=1.0)
    for end, where, text in ends:
        axes.text(end + widest * 0.015, where, text, va="center")
    axes.set_yticks(ticks, labels)
    axes.set_ylim(position - 0.3, 0.3)
    axes.set_xlim(0, widest * 1.15)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_xlabel(below)


@dataclass(frozen=True)
class Line:
    """A figure over the points of a case; ``style`` is the contender whose colour and marker it takes."""

    name: str
    key: str
    rows: Sequence[Row]
    style: str


def lines(axes: Any, series: Sequence[Line], points: Sequence[str]) -> list[str]:
    """Draw lines over the points of a case, and return which points are missing of which line."""
    missing = []
    for number, line in enumerate(series):
        # Side by side, or else equal ones would hide each other's spread.
        beside = (number - (len(series) - 1) / 2) * 0.035
        xs, medians, lows, highs, absent = [], [], [], [], []
        for row in line.rows:
            summary = row.summary(line.key)
            xs.append(points.index(row.point) + beside)
            if summary is None:
                absent.append(row.point)
                # A gap: a line across it would show what was never measured.
                summary = Summary(math.nan, math.nan, math.nan, 0)
            medians.append(summary.median)
            lows.append(summary.median - summary.low)
            highs.append(summary.high - summary.median)
        if absent:
            missing.append(f"{line.name}: nothing finished at {', '.join(absent)}")
        if not all(map(math.isnan, medians)):
            strong = CONTENDERS[line.style].ours
            axes.errorbar(
                xs,
                medians,
                yerr=[lows, highs],
                label=line.name,
                color=COLOURS[line.style],
                marker=MARKERS[line.style],
                markersize=6,
                linewidth=2.6 if strong else 1.2,
                capsize=3,
                zorder=3 if strong else 2,
            )
    axes.set_xticks(range(len(points)), points)
    axes.grid(axis="y", color=GRID)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return missing


def logarithmic(axes: Any) -> None:
    """Scale the vertical axis by the logarithm, with labels between the powers of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def middle(row: Row, key: str) -> dict[str, Any] | None:
    """Return the round with the median of a figure."""
    found = sorted((one.values for one in row.outcomes if one.values), key=lambda values: values[key])
    return found[len(found) // 2] if found else None

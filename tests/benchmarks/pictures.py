"""Draws results; matplotlib is imported only when there is something to draw."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    "ProcessPoolExecutor": "#a04080",
    "pebble": "#009e73",
    "mpire": "#b08a00",
    "billiard": "#777777",
    "deadpool": "#111111",
    "loky": "#56b4a9",
}
MARKERS = dict(zip(COLOURS, "ooDsv^P*X", strict=True))


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


def _draw_rates(axes: Any, result: CaseResult) -> None:
    points = list(dict.fromkeys(row.point for row in result.rows))
    unfinished: dict[str, list[str]] = {}
    names = list(dict.fromkeys(row.contender for row in result.rows))
    for number, name in enumerate(names):
        # Side by side, or else equal ones would hide each other's spread.
        beside = (number - (len(names) - 1) / 2) * 0.035
        xs, medians, lows, highs = [], [], [], []
        for row in (row for row in result.rows if row.contender == name):
            summary = row.summary("rate")
            xs.append(points.index(row.point) + beside)
            if summary is None:
                unfinished.setdefault(name, []).append(row.point)
                # A gap: a line across it would show what was never measured.
                summary = Summary(math.nan, math.nan, math.nan, 0)
            medians.append(summary.median)
            lows.append(summary.median - summary.low)
            highs.append(summary.high - summary.median)
        if not all(map(math.isnan, medians)):
            ours = CONTENDERS[name].ours
            axes.errorbar(
                xs,
                medians,
                yerr=[lows, highs],
                label=name,
                color=COLOURS[name],
                marker=MARKERS[name],
                markersize=6,
                linewidth=2.6 if ours else 1.2,
                capsize=3,
                zorder=3 if ours else 2,
            )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xticks(range(len(points)), points)
    axes.set_ylabel("tasks per second")
    below = "each worker process replaced after so many tasks"
    for name, where in unfinished.items():
        below += f"\n{name}: nothing finished at {', '.join(where)}"
    axes.set_xlabel(below)
    axes.grid(axis="y", color="#dddddd")
    axes.set_title("20 workers, tasks of 10 ms: median, min and max of the rounds", fontsize=10, loc="left")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _draw_idle(axes: Any, result: CaseResult) -> None:
    drawn = [(row, summary) for row in result.rows if (summary := row.summary("pss")) is not None]
    position = 0.0
    ticks, labels = [], []
    shown = None
    widest = max(summary.high for _, summary in drawn)
    for row, summary in drawn:
        if row.point != shown:
            shown = row.point
            position += 1.0
            axes.text(0, position, f"tasks from {row.point}", weight="bold", va="center")
            position += 0.9
        spread = [[summary.median - summary.low], [summary.high - summary.median]]
        axes.barh(position, summary.median, 0.7, xerr=spread, color=COLOURS[row.contender], capsize=3)
        axes.text(summary.high + widest * 0.015, position, f"{summary.median:,.0f} MB", va="center")
        ticks.append(position)
        labels.append(row.contender)
        position += 1.0
    axes.set_yticks(ticks, labels)
    axes.set_ylim(position - 0.3, 0.3)
    axes.set_xlim(0, widest * 1.15)
    axes.set_xlabel("proportional set size of all processes, 20 idle workers, MB")


def _draw_growth(axes: Any, result: CaseResult) -> None:
    for row in result.rows:
        outcome = _middle(row)
        if outcome is None:
            continue
        times, sizes = zip(*outcome["samples"], strict=True)
        colour = COLOURS[row.contender]
        axes.plot(times, sizes, color=colour, linewidth=2, label=row.contender)
        axes.axvline(outcome["submitted"], color=colour, linewidth=0.8, linestyle=":")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(color="#dddddd")
    axes.set_xlabel("seconds; dotted: all tasks have been submitted")
    axes.set_ylabel("resident memory of the parent, MB")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _middle(row: Row) -> dict[str, Any] | None:
    """Return the round with the median peak."""
    found = sorted((one.values for one in row.outcomes if one.values), key=lambda values: values["peak"])
    return found[len(found) // 2] if found else None


PICTURES = (
    Picture(
        "recycling-rate",
        "recycling",
        "Tasks per second of each pool, by the number of tasks after which a worker is replaced",
        _draw_rates,
        (7.5, 4.6),
    ),
    Picture(
        "memory-idle",
        "memory-idle",
        "Memory of each pool with 20 idle workers",
        _draw_idle,
        (7.5, 4.8),
    ),
    Picture(
        "memory-over-time",
        "memory-over-time",
        "The parent's memory over time while 60,000 tasks are submitted",
        _draw_growth,
        (7.5, 3.6),
    ),
)

"""The page with the figures of a Dask cluster: each program that measures writes a section of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import facts

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGE = "benchmarks-dask.md"
SHOWN = ("date", "rounds", "Python", "system", "processor", "cores this process may use", "memory")
LOAD = ("load average at the start", "load average at the end")

HEAD = """# Benchmarks on a Dask cluster

The sections of this page are written by programs, from measurements; nothing in them is typed in by hand.
Each names its command, which needs the dependency groups `bench` and `test`. {doc}`howto/cluster` says how to
use such a cluster.

The scheduler, its workers and the client are processes of one machine here, so they share its cores. On a
cluster of several machines they do not, and there is a network between them. Other programs ran beside them,
as the load averages say: what counts is how the rows of a table compare.
"""


def find_work() -> None:
    """Have the workers of a cluster find the tasks, which are in a module of this folder."""
    folders = [str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown; all columns but the first are numbers."""
    lines = [list(head), ["---"] + ["---:"] * (len(head) - 1), *map(list, rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


finish = facts.finish


def gather(command: str, rounds: int) -> dict[str, str]:
    """Return the facts at the start of a run."""
    found = facts.gather(command, rounds)
    kept = {name: found[name] for name in ("command", *SHOWN, LOAD[0])}
    return kept | {name: metadata.version(name) for name in ("distributed", "loky-bounded-executor")}


def write(folder: Path, title: str, body: str, run: dict[str, str]) -> None:
    """Write one section of the page, and leave the others as they are."""
    shown = table(["", ""], [[name, text] for name, text in run.items() if name != "command"])
    section = (
        f"## {title}\n\n```sh\n{run['command']}\n```\n\n{body}\n\nThe machine and the versions:\n\n{shown}\n"
    )
    path = folder / PAGE
    page = path.read_text() if path.exists() else HEAD
    sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    kept = [one.rstrip() + "\n" for one in sections if not one.startswith(f"## {title}\n")]
    path.write_text("\n".join([HEAD, *sorted([*kept, section])]))

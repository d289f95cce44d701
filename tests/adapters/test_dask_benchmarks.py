"""The programs that measure a Dask cluster run, and write their sections of the page."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import TESTS, script_environment

pytest.importorskip("distributed")
drawn = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed"
)


def run(name: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(TESTS / "benchmarks" / name), *options],
        capture_output=True,
        env=script_environment(),
        timeout=100,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@drawn
def test_memory(tmp_path: Path) -> None:
    out = run("dask_memory.py", "--tasks", "300", "--feed", "ours", "client.map", "--write", str(tmp_path))
    assert "| ours |" in out and "| client.map |" in out
    assert (tmp_path / "images" / "dask-memory.svg").read_text().rstrip().endswith("</svg>")
    # A section is replaced by its next, and not written twice.
    page = tmp_path / "benchmarks-dask.md"
    page.write_text(page.read_text() + "\n## Another\n\nStays.\n")
    run("dask_memory.py", "--tasks", "200", "--feed", "ours", "--write", str(tmp_path))
    text = page.read_text()
    assert text.count("## Memory of the scheduler") == 1 and "--tasks 200" in text and "Stays." in text


@pytest.mark.slow
def test_rates() -> None:
    feeds = ["ours: map", "client.map of 1,000, then gather"]
    out = run("dask_rates.py", "--rounds", "1", "--task", "nothing", "--feed", *feeds)
    assert all(f"| {feed} |" in out for feed in feeds)

"""What the documentation shows works, and says the same everywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import PACKAGE_ROOT, run_script, script_environment

README = PACKAGE_ROOT / "README.md"
CRAWL = PACKAGE_ROOT / "docs" / "examples" / "crawl.py"
CI = PACKAGE_ROOT / ".ci" / "run"

pytestmark = pytest.mark.skipif(
    not README.exists(), reason="the documentation is not installed with the package"
)


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of one language; those marked ``no-run`` are only shown."""
    found = re.findall(r"^```(\S+)([^\n]*)\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    return [body for name, rest, body in found if name == language and "no-run" not in rest]


def crawl(*options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(CRAWL), *options],
        capture_output=True,
        env=script_environment(),
        timeout=100,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("--compare", "unbounded")], ids=["bounded", "compare"])
def test_the_crawl(options: tuple[str, ...]) -> None:
    out = crawl(
        "--pages", "300", "--workers", "4", "--queue-size", "24", "--max-tasks-per-child", "5", *options
    )
    assert "300" in out


PROGRAMS = [
    pytest.param(path, body, id=f"{path.name}-{number}")
    for path in [README, *sorted((PACKAGE_ROOT / "docs").glob("**/*.md"))]
    if path.exists()
    for number, body in enumerate(blocks(path, "python"))
]


@pytest.mark.parametrize(("path", "body"), PROGRAMS)
def test_programs_in_the_documentation_run(path: Path, body: str, tmp_path: Path) -> None:
    run_script(body, seconds=100, quiet=False)


def test_the_test_command_of_the_readme_is_the_one_of_ci() -> None:
    if not CI.exists():
        pytest.skip("not a checkout")
    pattern = r"^python3 -m venv .* -m pytest$"
    assert len(re.findall(pattern, README.read_text(), re.MULTILINE)) == 1
    # It has no command of its own, but takes this one.
    assert pattern in CI.read_text()

"""What the documentation shows works, and says the same everywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import take_sigint
from helpers import PACKAGE_ROOT, PATIENCE, script_environment
from platforms import needs_fork, needs_proc

README = PACKAGE_ROOT / "README.md"
CRAWL = PACKAGE_ROOT / "docs" / "examples" / "crawl.py"
CI = PACKAGE_ROOT / ".ci" / "run"

pytestmark = pytest.mark.skipif(
    not README.exists(), reason="the documentation is not installed with the package"
)


def blocks(path: Path, language: str, mark: str = "") -> list[str]:
    """The fenced blocks of one language, those with a mark; the ones marked ``no-run`` are only shown."""
    found = re.findall(r"^```(\S+)([^\n]*)\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    return [body for name, rest, body in found if name == language and mark in rest and "no-run" not in rest]


def crawl(*options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(CRAWL), *options],
        capture_output=True,
        env=script_environment(),
        timeout=PATIENCE + 70,
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


def test_the_crawl_on_a_cluster() -> None:
    pytest.importorskip("distributed")
    out = crawl("--cluster", "local", "--pages", "300", "--workers", "4", "--queue-size", "24")
    assert "300 of 300" in out
    assert "the scheduler's memory" in out


def file_name(body: str) -> str | None:
    """The name of the file that a block is to be saved as, where its first line says so."""
    found = re.match(r"# (\w+\.py)\n", body)
    return found and found[1]


PAGES = {
    path: blocks(path, "python")
    for path in [README, *sorted((PACKAGE_ROOT / "docs").glob("**/*.md"))]
    if path.exists()
}
LIMITS_MEMORY = re.compile(r"max_memory_\w+=|children_memory_bytes")


def needs(path: Path, body: str) -> list[pytest.MarkDecorator]:
    """What a program needs of the platform; ``forked`` says that it counts on what only forks share."""
    marks = [needs_proc] if LIMITS_MEMORY.search(body) else []
    if body in blocks(path, "python", "forked"):
        marks.append(needs_fork("each process imports for itself"))
    return marks


PROGRAMS = [
    pytest.param(path, body, id=f"{path.name}-{number}", marks=needs(path, body))
    for path, bodies in PAGES.items()
    for number, body in enumerate(bodies)
    if (file_name(body) or "test_").startswith("test_")
]


# Workers of the standard library's pools die of this one in Python 3.15, where it is an error.
THEIR_WARNINGS = ("-W", "ignore:Module globals is missing a __spec__.loader:DeprecationWarning")


@pytest.mark.parametrize(("path", "body"), PROGRAMS)
def test_programs_in_the_documentation_run(path: Path, body: str, tmp_path: Path) -> None:
    for other in PAGES[path]:
        if (name := file_name(other)) is not None:
            (tmp_path / name).write_text(other)
    if (tests := file_name(body)) is None:
        (tmp_path / "program.py").write_text(body)
        run_in(tmp_path, "-W", "error", *THEIR_WARNINGS, "program.py")
    else:
        run_in(tmp_path, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", tests)


def run_in(folder: Path, *options: str) -> None:
    """Run Python in a folder, in a session of its own; it must succeed."""
    with subprocess.Popen(
        [sys.executable, *options],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=script_environment(),
        start_new_session=True,
        preexec_fn=take_sigint,
        text=True,
    ) as process:
        try:
            out, _ = process.communicate(timeout=PATIENCE + 70)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
            raise AssertionError(f"it hung; output: {out}") from None
    assert process.returncode == 0, f"exit status {process.returncode}\n{out}"


def test_the_test_command_of_the_readme_is_the_one_of_ci() -> None:
    if not CI.exists():
        pytest.skip("not a checkout")
    pattern = r"^python3 -m venv .* -m pytest$"
    assert len(re.findall(pattern, README.read_text(), re.MULTILINE)) == 1
    # It has no command of its own, but takes this one.
    assert pattern in CI.read_text()

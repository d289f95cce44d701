"""What type checkers say of programs that use the package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import PACKAGE_ROOT, SUPPORT

PROGRAM = SUPPORT / "typed.py"


def check(tool: str, *options: str, cwd: Path) -> None:
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", tool, *options, str(PROGRAM)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_finds_what_it_should(tmp_path: Path) -> None:
    check("mypy", "--strict", "--cache-dir", str(tmp_path), cwd=PACKAGE_ROOT)


def test_pyright_finds_what_it_should() -> None:
    check("pyright", "--pythonpath", sys.executable, cwd=PACKAGE_ROOT)

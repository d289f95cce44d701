"""Whole programs print the same with the standard library's pool and with ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import helpers
import pytest

import side_by_side
from side_by_side import Program

PROGRAMS = side_by_side.programs()


def parameters(programs: list[Program], *, slow: bool = False) -> list[object]:
    return [
        pytest.param(
            program,
            id=program.name,
            marks=[pytest.mark.slow] if slow or "slow" in program.head else [],
        )
        for program in programs
    ]


def skip_where_it_cannot_run(program: Program) -> None:
    missing = [name for name in program.needs if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    if helpers.SPAWNED and "not spawned" in program.head:
        pytest.skip(f"processes are spawned here: {program.head['not spawned']}")


def test_there_are_enough_of_them() -> None:
    assert sum(not program.only_ours for program in PROGRAMS) >= 50


@pytest.mark.parametrize("program", parameters(PROGRAMS))
def test_a_program_prints_the_same(program: Program, tmp_path: Path) -> None:
    skip_where_it_cannot_run(program)
    side_by_side.assert_alike(program, side_by_side.run_all(program, tmp_path, program.sides()))


@pytest.mark.parametrize("program", parameters(PROGRAMS, slow=True))
def test_a_program_prints_the_same_however_processes_start(program: Program, tmp_path: Path) -> None:
    skip_where_it_cannot_run(program)
    side_by_side.assert_alike(program, side_by_side.run_all(program, tmp_path, program.sides(every=True)))

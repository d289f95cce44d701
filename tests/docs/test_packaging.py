"""What a user meets before the first task: the import, and the public names."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
from typing import Any

import pytest
from helpers import PATIENCE

import bounded_executor
from bounded_executor import BoundedFuture, BoundedProcessPoolExecutor


def run_fresh(program: str) -> str:
    """Return what a program prints in an interpreter of its own, where a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def public_methods() -> list[Any]:
    return [
        pytest.param(method, id=name)
        for name, method in inspect.getmembers(BoundedProcessPoolExecutor, inspect.isfunction)
        if not name.startswith("_")
    ]


@pytest.mark.parametrize("name", bounded_executor.__all__)
def test_every_public_name_is_there_and_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(getattr(bounded_executor, name))
    assert name in dir(bounded_executor)


@pytest.mark.parametrize("method", public_methods())
def test_every_public_method_has_a_docstring_of_its_own(method: Any) -> None:
    assert method.__doc__


@pytest.mark.parametrize("name", bounded_executor.__all__)
def test_each_public_name_can_be_the_first_that_is_asked_for(name: str) -> None:
    assert run_fresh(f"from bounded_executor import {name}; print({name}.__name__)").strip() == name


def test_a_star_import_brings_the_public_names_only() -> None:
    names = run_fresh("""
from bounded_executor import *
print(*sorted(name for name in globals() if not name.startswith("__")))
""")
    assert names.split() == sorted(bounded_executor.__all__)


def test_a_name_that_is_not_public_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'FutureSink'"):
        _ = bounded_executor.FutureSink


def test_the_package_alone_imports_none_of_what_the_executor_needs() -> None:
    heavy = ("asyncio", "bounded_executor._executor", "cloudpickle", "concurrent", "loky", "multiprocessing")
    found = run_fresh(f"""
import sys
before = set(sys.modules)
import bounded_executor
print(*(set({heavy!r}) & (set(sys.modules) - before)))
""")
    assert found.split() == []


def test_the_executor_imports_no_module_of_an_extra() -> None:
    extras = ("numpy", "prometheus_client", "psutil", "rich")
    # loky takes psutil where it is installed, which is not our doing.
    found = run_fresh(f"""
import loky, sys
before = set(sys.modules)
from bounded_executor import BoundedProcessPoolExecutor
print(*(set({extras!r}) & (set(sys.modules) - before)))
""")
    assert found.split() == []


def test_submit_returns_the_public_future() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        future: BoundedFuture[int] = ex.submit(abs, -3)
        assert type(future) is BoundedFuture
        assert future.result(PATIENCE) == 3


def test_the_version_is_that_of_the_distribution() -> None:
    assert bounded_executor.__version__ == importlib.metadata.version("loky-bounded-executor")

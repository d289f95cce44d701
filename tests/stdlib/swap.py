"""Puts this package's executor where the standard library's tests take theirs from.

In the test process and in every script that a test has run by another interpreter; there a file proves
that the swap was really made. The standard library's own class cannot be instantiated in either, so no
test can pass on it by mistake.
"""

from __future__ import annotations

import concurrent.futures.process
import os
import tempfile
from pathlib import Path
from typing import Any

from bounded_executor import BoundedProcessPoolExecutor

NAME = "ProcessPoolExecutor"
PREAMBLE = "import sys; sys.path.insert(0, {here!r}); import swap; swap.install({proof!r})\n"


class ProcessPoolExecutor(BoundedProcessPoolExecutor):
    """The executor as the tests want it; its name is pasted into the scripts that they have run."""

    made = 0
    proof: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # These tests look for threads and processes when `shutdown` has returned: no warm one may stay.
        super().__init__(*args, idle_timeout=0, on_crash="break", **kwargs)
        ProcessPoolExecutor.made += 1
        if self.proof is not None:
            with open(self.proof, "a") as proof:
                proof.write(f"{os.getpid()}\n")


def install(proof: str | None = None) -> None:
    """Swap the class; ``proof`` is a file that is to have a line for every executor made."""
    theirs = concurrent.futures.process.ProcessPoolExecutor
    theirs.__init__ = _refuse
    ProcessPoolExecutor.proof = proof
    concurrent.futures.ProcessPoolExecutor = ProcessPoolExecutor
    concurrent.futures.process.ProcessPoolExecutor = ProcessPoolExecutor


def _refuse(self: object, *args: Any, **kwargs: Any) -> None:
    raise AssertionError("a test made the standard library's own ProcessPoolExecutor")


class Scripts:
    """Stands in for ``script_helper.run_python_until_end``, through which all scripts are run.

    Args:
        run: the function that it stands in for.

    Attributes:
        swapped: scripts that made an executor, and proved it to be ours.
    """

    swapped = 0

    def __init__(self, run: Any) -> None:
        self._run = run

    def __call__(self, *args: str, **options: Any) -> Any:
        command = list(args)
        with tempfile.TemporaryDirectory() as folder:
            proof = Path(folder, "proof")
            # The interpreters run isolated: neither PYTHONPATH nor sitecustomize would reach them.
            at = command.index("-c") + 1
            ours = NAME in command[at]
            here = os.path.dirname(os.path.abspath(__file__))
            command[at] = PREAMBLE.format(here=here, proof=str(proof)) + command[at]
            result = self._run(*command, **options)
            if ours and result[0].rc == 0:
                assert proof.exists(), f"the script made no {NAME} of ours:\n{command[at]}"
                Scripts.swapped += 1
        return result

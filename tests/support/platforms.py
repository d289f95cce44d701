"""Skips tests of what a platform does not have, with the reason: ``pytest -rs`` prints it.

The tox environment ``spawned`` runs the suite as on macOS, see ``tests/spawned``.
"""

from __future__ import annotations

import os

import pytest
from helpers import SPAWNED

from bounded_executor._memory import proc
from bounded_executor._worker import bootstrap

__all__ = ["needs_death_signal", "needs_fork", "needs_pidfds", "needs_proc"]

# Elsewhere the parameters that limit memory are refused; `test_params` asks for that.
needs_proc = pytest.mark.skipif(
    not proc.CAN_MEASURE, reason="memory is read from /proc, which this platform does not have"
)

needs_pidfds = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="there are no process descriptors on this platform"
)
# `test_spawned` asks what holds elsewhere.
needs_death_signal = pytest.mark.skipif(
    not bootstrap.DIES_WITH_PARENT,
    reason="the kernel does not end a process with its parent on this platform",
)


def needs_fork(why: str) -> pytest.MarkDecorator:
    """Skip a test where processes are spawned.

    Args:
        why: what is not there without a fork.
    """
    return pytest.mark.skipif(SPAWNED, reason=f"processes are spawned here: {why}")

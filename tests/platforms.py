"""Skips tests of what a platform does not have, with the reason: ``pytest -rs`` prints it.

The tox environment ``spawned`` runs the suite as on macOS, see ``tests/spawned``.
"""

from __future__ import annotations

import pytest
from helpers import SPAWNED

from bounded_executor import _memory

__all__ = ["needs_fork", "needs_proc"]

# Elsewhere the parameters that limit memory are refused; `test_params` asks for that.
needs_proc = pytest.mark.skipif(
    not _memory.CAN_MEASURE, reason="memory is read from /proc, which this platform does not have"
)


def needs_fork(why: str) -> pytest.MarkDecorator:
    """Skip a test where processes are spawned.

    Args:
        why: what is not there without a fork.
    """
    return pytest.mark.skipif(SPAWNED, reason=f"processes are spawned here: {why}")

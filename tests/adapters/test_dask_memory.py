"""What was sent to a Dask cluster does not stay in this process."""

from __future__ import annotations

import os

import pytest
from helpers import run_script

pytest.importorskip("distributed")
from dask_cluster import cluster

# Prints by how many bytes this process has grown over 300 tasks of 100 KB of which 4 are unfinished at most.
CODE = """
import os, sys
from bounded_executor import BoundedExecutor

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

with BoundedExecutor.for_dask(sys.argv[1], queue_size=4) as executor:
    for number in range(320):
        if number == 20:
            before = resident()
        executor.submit(len, os.urandom(100_000))
    print(resident() - before)
"""


def test_messages_that_were_sent_are_not_kept() -> None:
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("memory is read from /proc")
    with cluster() as one:
        grown = int(run_script(CODE, one.address, quiet=False))
    # All that was sent are 30 MB.
    assert grown < 300 * 100_000 / 2

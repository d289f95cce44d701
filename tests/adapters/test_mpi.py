"""A queue over a pool of MPI processes: ``mpi4py.futures.MPIPoolExecutor``, started by a real ``mpiexec``."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import SUPPORT, script_environment

# Beside the interpreter first: packages of the index bring one, and it has to be of the library that is used.
MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed"),
    pytest.mark.skipif(MPIEXEC is None, reason="there is no mpiexec: neither of a package nor of the system"),
]

# Open MPI refuses to run as root, as containers do, and more processes than there are cores; each of its
# major versions is told otherwise in its own way. MPICH does both.
LENIENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


@pytest.mark.parametrize("scene", ["submit", "bound", "maps", "errors", "unpicklable", "cancel", "completed"])
def test_over_mpi(scene: str) -> None:
    assert MPIEXEC is not None
    # Three processes: this program's, and two workers.
    program = [sys.executable, "-m", "mpi4py.futures", str(SUPPORT / "mpi_program.py"), scene]
    done = subprocess.run(
        [MPIEXEC, "-n", "3", *program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=script_environment(**LENIENT),
        timeout=100,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.strip() == f"done {scene}"

# run: linked_script.py
# slow: others tell more of the same
# start methods: fork forkserver
"""Started once more through a symbolic link in another folder."""

import os
import subprocess
import sys

from pool import Executor

state = []


def add(item):
    state.append(item)
    return state, os.path.basename(__file__)


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        executor.submit(add, 1).result()
        print(executor.submit(add, 2).result(), flush=True)
    if "again" not in sys.argv:
        os.makedirs("bin")
        os.symlink(os.path.abspath(__file__), "bin/linked")
        subprocess.run([sys.executable, "bin/linked", "again"], check=True)

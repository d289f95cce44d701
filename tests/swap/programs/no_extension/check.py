# run: check.py
# slow: others tell more of the same
# start methods: fork spawn
"""Copies itself to a name without extension, as commands have, and runs that."""

import shutil
import subprocess
import sys

SOURCE = '''\
"""A command without an extension, with state."""

from pool import Executor

calls = 0


def count(step):
    global calls
    calls += step
    return calls


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(list(executor.map(count, [1, 2, 3])), flush=True)
'''

if __name__ == "__main__":
    with open("the-command", "w") as file:
        file.write(SOURCE)
    shutil.copy("the-command", "named like json.txt")
    for name in ("the-command", "named like json.txt"):
        subprocess.run([sys.executable, name], check=True)

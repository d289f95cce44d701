"""The top of the script opens files: a log that tasks append to, and data that they read."""

import mmap
from pathlib import Path

from pool import Executor

Path("data.txt").write_text("alpha\nbravo\ncharlie\n")

log = open("log.txt", "a")
data = open("data.txt", "rb")
view = mmap.mmap(data.fileno(), 0, access=mmap.ACCESS_READ)


def record(number):
    log.write(f"task {number}\n")
    log.flush()
    return view[number * 2 : number * 2 + 2]


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(list(executor.map(record, range(4))))
    print(sorted(Path("log.txt").read_text().splitlines()))

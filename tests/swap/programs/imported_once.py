# not spawned: each process imports it there
# only ours: the standard library imports it once per process, or never
"""The script is imported once, however many processes and replacements there are, with its name."""

import os

from pool import Executor

with open("imports.txt", "a") as file:
    file.write(f"{__name__}\n")

parent = os.getppid()


def work(number):
    return parent


if __name__ == "__main__":
    with Executor(max_workers=3, max_tasks_per_child=2) as executor:
        print(len(set(executor.map(work, range(20)))))
    print(open("imports.txt").read().split())

# prints:
# 1
# ['__main__', '__mp_main__']

# start methods: fork forkserver
"""Tasks find functions by globals(), by eval, by getattr of the main module and by a dotted name."""

import importlib
import sys

from pool import Executor


def job_square(number):
    return number * number


def job_negate(number):
    return -number


def run(name, number):
    return globals()[f"job_{name}"](number)


def run_eval(text):
    return eval(text)


def run_main(name, number):
    return getattr(sys.modules["__main__"], name)(number)


def run_dotted(target, number):
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)(number)


def jobs():
    return sorted(name for name in globals() if name.startswith("job_"))


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(executor.submit(run, "square", 3).result(), executor.submit(run, "negate", 3).result())
        print(executor.submit(run_eval, "job_square(4) + 1").result())
        print(executor.submit(run_main, "job_square", 5).result())
        print(executor.submit(run_dotted, "__main__:job_negate", 6).result())
        print(executor.submit(jobs).result())

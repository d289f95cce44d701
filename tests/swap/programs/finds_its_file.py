"""Tasks use __file__, __doc__, __name__ and the source of a function."""

import inspect
import os
import sys
from pathlib import Path

from pool import Executor

HERE = Path(__file__).resolve().parent


def lines(name):
    return (HERE / name).read_text().split()


def facts():
    source = inspect.getsource(lines).splitlines()[1].strip()
    return os.path.basename(__file__), __doc__, source, [Path(sys.argv[0]).name, *sys.argv[1:]]


def module_of_function():
    module = sys.modules[lines.__module__]
    return module.lines is lines, vars(module) is globals(), inspect.getmodule(lines) is module


if __name__ == "__main__":
    (HERE / "data.txt").write_text("one two")
    with Executor(max_workers=2) as executor:
        print(executor.submit(lines, "data.txt").result())
        print(executor.submit(facts).result())
        print(executor.submit(module_of_function).result())

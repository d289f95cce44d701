# start methods: fork forkserver
"""An import finder of the script, for modules that are in no file."""

import importlib
import importlib.abc
import importlib.util
import sys

from pool import Executor

SOURCES = {
    "shapes": """
class Square:
    def __init__(self, side):
        self.side = side

def area(square):
    return square.side**2
"""
}


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.util.spec_from_loader(name, self) if name in SOURCES else None

    def exec_module(self, module):
        exec(SOURCES[module.__name__], vars(module))


sys.meta_path.append(Finder())


def import_in_task(side):
    import shapes

    return shapes.Square(side)


if __name__ == "__main__":
    shapes = importlib.import_module("shapes")
    with Executor(max_workers=2) as executor:
        print(executor.submit(shapes.area, shapes.Square(3)).result())
        print(list(executor.map(shapes.area, map(shapes.Square, range(4)))))
        square = executor.submit(import_in_task, 5).result()
        print(type(square) is shapes.Square, square.side)

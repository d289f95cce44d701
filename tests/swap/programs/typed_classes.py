# start methods: fork forkserver
# slow: others tell more of the same
"""NamedTuple, namedtuple, TypedDict, Generic, NewType and a ctypes structure of the script."""

import ctypes
from collections import namedtuple
from typing import Generic, NamedTuple, NewType, TypedDict, TypeVar

from pool import Executor

Item = TypeVar("Item")
UserId = NewType("UserId", int)
Pair = namedtuple("Pair", "left right")


class City(NamedTuple):
    name: str
    people: int = 0

    def grown(self, by: int) -> "City":
        return self._replace(people=self.people + by)


class Options(TypedDict, total=False):
    depth: int


class Stack(Generic[Item]):
    def __init__(self) -> None:
        self.items: list[Item] = []

    def push(self, item: Item) -> "Stack[Item]":
        self.items.append(item)
        return self


class Box(ctypes.Structure):
    _fields_ = [("width", ctypes.c_int), ("height", ctypes.c_int)]


def swap(pair: Pair) -> Pair:
    return Pair(*reversed(pair))


def fill(number: UserId, options: Options) -> Stack[int]:
    stack = Stack[int]()
    for depth in range(options["depth"]):
        stack.push(number + depth)
    return stack


def turn(box: Box) -> Box:
    return Box(box.height, box.width)


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(executor.submit(City("Rome", 2).grown, 3).result())
        pair = executor.submit(swap, Pair(1, 2)).result()
        print(pair, type(pair) is Pair, pair.left)
        stack = executor.submit(fill, UserId(7), Options(depth=2)).result()
        print(type(stack) is Stack, stack.items, stack.push(0).items)
        box = executor.submit(turn, Box(1, 2)).result()
        print(type(box) is Box, box.width, box.height)

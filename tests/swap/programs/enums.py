# start methods: fork spawn
"""Enum members and flags keep their identity in both directions."""

import enum

from pool import Executor


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"

    def other(self):
        return Colour.BLUE if self is Colour.RED else Colour.RED


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@enum.unique
class State(str, enum.Enum):
    NEW = "new"
    DONE = "done"


NAMES = {Colour.RED: "rosso", Colour.BLUE: "blu"}


def name(colour):
    return NAMES[colour], colour is Colour.RED, colour.other()


def widen(access):
    return access | Access.WRITE


def finish(state, level):
    return State.DONE if state is State.NEW and level is Level.HIGH else state


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        word, same, other = executor.submit(name, Colour.RED).result()
        print(word, same, other is Colour.BLUE)
        wider = executor.submit(widen, Access.READ).result()
        print(wider == Access.READ | Access.WRITE, Access.READ in wider, type(wider) is Access)
        print(executor.submit(finish, State.NEW, Level.HIGH).result() is State.DONE)
        print(executor.submit(Colour, "b").result() is Colour.BLUE)
        print(list(executor.map(Colour.other, Colour)) == [Colour.BLUE, Colour.RED])

# start methods: fork spawn
"""The top registers with copyreg how things that cannot be pickled travel."""

import copyreg
import threading

from pool import Executor


class Door:
    def __init__(self, number):
        self.number = number
        self.lock = threading.Lock()


def make_door(number):
    return Door(number)


def reduce_door(door):
    return make_door, (door.number,)


def reduce_lines(lines):
    return iter, (list(lines),)


copyreg.pickle(Door, reduce_door)
copyreg.pickle(type(i for i in ()), reduce_lines)


def open_door(door):
    with door.lock:
        return Door(door.number + 1)


def numbers(limit):
    return (number * number for number in range(limit))


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        door = executor.submit(open_door, Door(4)).result()
        print(type(door) is Door, door.number, door.lock.locked())
        print(list(executor.submit(numbers, 4).result()))

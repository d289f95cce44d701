# start methods: fork forkserver
"""Tasks send objects of the script by other ways than results: a queue, a pipe, a nested pool, a file."""

import multiprocessing
import pickle
import tempfile
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import Enum

from pool import Executor

Place = namedtuple("Place", "town street")


class Size(Enum):
    SMALL = 1
    LARGE = 2


@dataclass(frozen=True)
class Parcel:
    size: Size
    place: Place

    class Lost(Exception):
        pass


def is_right(parcel):
    return isinstance(parcel, Parcel), parcel.size is Size.LARGE, type(parcel.place) is Place


def enlarge(parcel):
    return Parcel(Size.LARGE, parcel.place)


def by_queue(queue, answers):
    parcel = queue.get()
    answers.put(enlarge(parcel))
    return isinstance(parcel, Parcel), parcel.size is Size.SMALL


def by_pipe():
    ours, theirs = multiprocessing.Pipe()
    ours.send(Parcel(Size.LARGE, Place("A", "B")))
    return is_right(theirs.recv())


def by_nested_pool(parcel):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as inner:
        return is_right(inner.submit(enlarge, parcel).result()), inner.submit(is_right, parcel).result()


def by_file():
    with tempfile.TemporaryFile() as file:
        pickle.dump([Parcel(Size.LARGE, Place("A", "B")), Parcel, is_right, Parcel.Lost], file)
        file.seek(0)
        parcel, cls, function, error = pickle.load(file)
        return is_right(parcel), cls is Parcel, function is is_right, error is Parcel.Lost


if __name__ == "__main__":
    small = Parcel(Size.SMALL, Place("A", "B"))
    with multiprocessing.Manager() as manager, Executor(max_workers=2) as executor:
        queue, answers = manager.Queue(), manager.Queue()
        queue.put(small)
        print(executor.submit(by_queue, queue, answers).result(), is_right(answers.get()))
        print(executor.submit(by_pipe).result())
        print(executor.submit(by_nested_pool, small).result())
        print(executor.submit(by_file).result())

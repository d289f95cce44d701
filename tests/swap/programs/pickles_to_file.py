# start methods: fork forkserver
"""Tasks pickle objects of the script to files and read what the main process has pickled."""

import copy
import pickle
import shelve
from pathlib import Path

from pool import Executor


class Record:
    def __init__(self, name, parent=None):
        self.name = name
        self.parent = parent

    def __eq__(self, other):
        return isinstance(other, Record) and (self.name, self.parent) == (other.name, other.parent)

    __hash__ = None


def load(path):
    return pickle.loads(Path(path).read_bytes())


def save(record, path):
    Path(path).write_bytes(pickle.dumps(record))
    return path


def read_and_save(path):
    record = load(path)
    assert type(record) is Record
    return save(Record("child of " + record.name, copy.deepcopy(record)), path + ".child")


def read_again(path):
    return type(load(path)) is Record, load(path).name


def keep(name, record):
    with shelve.open("records") as records:
        records[name] = record
    with shelve.open("records") as records:
        return isinstance(records[name], Record)


if __name__ == "__main__":
    save(Record("first"), "a.pickle")
    with Executor(max_workers=1) as executor:
        path = executor.submit(read_and_save, "a.pickle").result()
        record = load(path)
        print(type(record) is Record, record == Record("child of first", Record("first")))
        print(executor.submit(read_again, path).result())
        print(executor.submit(keep, "x", record).result())
    with shelve.open("records") as records:
        print(records["x"] == record)

# start methods: fork forkserver
"""Objects that the script compares by identity."""

from pool import Executor

MISSING = object()


class Unset:
    _instance = None

    def __new__(cls):
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance


UNSET = Unset()


class Field:
    empty = MISSING


def get(mapping, key, default=MISSING):
    if default is MISSING:
        return "no default"
    return mapping.get(key, default)


def is_unset(value=UNSET):
    return value is UNSET, Unset() is UNSET


def is_empty(field):
    return field.empty is MISSING


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(get, {}, "a").result(), executor.submit(get, {}, "a", 1).result())
        print(executor.submit(is_unset).result())
        print(executor.submit(is_empty, Field()).result())

"""A table that the guarded block fills holds an attribute of a class."""

from pool import Executor as Pool


class Model:
    items = []


VIEWS = []


def first(x):
    Model.items.append(x)
    return list(Model.items)


def second():
    return list(VIEWS), Model.items, VIEWS[0] is Model.items


if __name__ == "__main__":
    VIEWS.append(Model.items)
    with Pool(1) as p:
        print(p.submit(first, 1).result())
        print(p.submit(second).result())

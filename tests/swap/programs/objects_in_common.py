# also spawned
"""Objects that several globals lead to are one object in a worker, whatever the program has changed."""

import weakref

from pool import Executor

END = object()


class Node:
    registry = {}
    order = []

    def __init__(self, name):
        self.name = name
        self.inner = []
        self.outer = None
        Node.registry[name] = self
        Node.order.append(self)

    def add(self, node):
        self.inner.append(node)
        node.outer = self


FIRST, SECOND = Node("first"), Node("second")
ROOT, LEAF = Node("root"), Node("leaf")
ROOT.add(LEAF)
WATCHED = weakref.WeakSet([LEAF])
ROWS = [{"key": 1}, {"key": 2}]
BY_KEY = {row["key"]: row for row in ROWS}
PRICES = {FIRST: 1, SECOND: 2}
CURRENT = {"node": FIRST}
OUTER = {"inner": {"n": 1}}
INNER = OUTER["inner"]
INNER["outer"] = OUTER
QUEUE = []
CHOSEN = FIRST


def registry():
    return [node.name for node in Node.order], Node.registry["first"] is FIRST, FIRST in Node.order


def rows():
    ROWS[0]["seen"] = True
    return all(BY_KEY[row["key"]] is row for row in ROWS), sorted(BY_KEY[1], key=str), ROWS[0].get("z")


def prices():
    return PRICES.get(FIRST), PRICES.get(SECOND), len(PRICES)


def tree():
    return LEAF.outer is ROOT, ROOT.inner[0] is LEAF, ROOT.name, LEAF in WATCHED


def circle():
    INNER["n"] += 1
    return OUTER["inner"] is INNER, INNER["outer"] is OUTER, OUTER["inner"]["n"]


def current():
    return CURRENT["node"] is SECOND, CHOSEN is SECOND, CURRENT["node"].__dict__.get("note")


def until_end(last=END):
    return QUEUE.index(END), last is END


FUNCTIONS = [registry, rows, prices, tree, circle, current, until_end]


def main():
    global CHOSEN
    for function in FUNCTIONS:
        with Executor(max_workers=1) as executor:
            print("as imported", function.__name__, *errors_of(executor, function))
    Node("third")
    FIRST.note = "a"
    SECOND.note = "b"
    ROWS[0]["z"] = 5
    PRICES[SECOND] = 7
    ROOT.name = "top"
    INNER["n"] = 10
    CURRENT["node"] = CHOSEN = SECOND
    QUEUE.extend([1, 2, END, 3])
    for function in FUNCTIONS:
        with Executor(max_workers=1) as executor:
            print("changed", function.__name__, executor.submit(function).result())
    for functions in (FUNCTIONS, FUNCTIONS[::-1]):
        with Executor(max_workers=1) as executor:
            for function in functions:
                print("together", function.__name__, executor.submit(function).result())


def errors_of(executor, function):
    try:
        yield executor.submit(function).result()
    except ValueError as error:
        yield type(error).__name__


if __name__ == "__main__":
    main()

"""A weak proxy in a global whose object is gone."""

from pool import Executor as Pool
import weakref


class Node:
    pass


node = Node()
CURRENT = weakref.proxy(node)
node = None
DATA = [1, 2]


def work():
    return DATA


if __name__ == "__main__":
    with Pool(1) as p:
        print(p.submit(work).result())

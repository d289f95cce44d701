# run: -m shop.orders tea tea
# start methods: fork spawn
# also spawned
"""Run as `python -m shop.orders`: relative imports, globals, state and sys.argv."""

import sys

from pool import Executor

from . import prices
from .prices import RATES, price

orders = []
RATES["tea"] += 1


class Order:
    def __init__(self, item):
        self.item = item

    def total(self):
        from .prices import price as again

        return again(self.item)


def order(item):
    orders.append(item)
    return Order(item), len(orders), price(item), prices.RATES is RATES


def facts():
    return __package__, __spec__ is not None, sys.argv[1:]


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        for one, count, cost, same in executor.map(order, sys.argv[1:]):
            print(type(one) is Order, one.total(), count, cost, same)
        print(executor.submit(facts).result())
    print("here:", orders)

# start methods: fork forkserver
"""The top sets the precision and the rounding of decimal numbers, and a context variable."""

import contextvars
import decimal
from decimal import Decimal

from pool import Executor

decimal.getcontext().prec = 50
decimal.getcontext().rounding = decimal.ROUND_FLOOR
language = contextvars.ContextVar("language", default="en")
language.set("it")


def divide(dividend, divisor):
    return Decimal(dividend) / Decimal(divisor)


def spoken():
    return language.get()


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(executor.submit(divide, 1, 7).result())
        print(executor.submit(divide, -2, 3).result())
        print(executor.submit(spoken).result())

# start methods: fork forkserver
"""Exceptions of the script are raised in tasks and caught by class here."""

from pool import Executor


class ShopError(Exception):
    """Base of all of them."""


class OutOfStock(ShopError):
    def __init__(self, item, wanted):
        super().__init__(f"no {wanted} {item} left")
        self.item = item
        self.wanted = wanted

    def __reduce__(self):
        return type(self), (self.item, self.wanted)


class Refused(ShopError, ValueError):
    pass


seen = []


def buy(item, wanted):
    try:
        if wanted > 3:
            raise OutOfStock(item, wanted)
        if wanted < 0:
            raise Refused(wanted)
    except ShopError as error:
        seen.append(type(error).__name__)
        raise
    return wanted


def check(error):
    return isinstance(error, ShopError), type(error) is OutOfStock, seen


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        for wanted in (1, 5, -1):
            try:
                print("bought", executor.submit(buy, "tea", wanted).result())
            except OutOfStock as error:
                print("out of stock:", error, error.item, error.wanted)
                print(executor.submit(check, error).result())
            except ShopError as error:
                print("refused:", error.args, isinstance(error, ValueError), type(error) is Refused)
        future = executor.submit(buy, "tea", 9)
        print(type(future.exception()) is OutOfStock, executor.submit(check, ValueError()).result())

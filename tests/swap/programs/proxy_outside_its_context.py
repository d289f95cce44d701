"""An object in a global that refuses to tell its class."""

from pool import Executor as Pool


class LocalProxy:
    @property
    def __class__(self):
        raise RuntimeError("working outside of application context")


CURRENT_APP = LocalProxy()
DATA = [1, 2]


def work():
    return DATA


if __name__ == "__main__":
    with Pool(1) as p:
        print(p.submit(work).result())

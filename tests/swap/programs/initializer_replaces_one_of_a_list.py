"""The initializer assigns a global that a list holds as well."""

from pool import Executor as Pool


class Conn:
    def __init__(self, n):
        self.n = n


CONN = Conn("main")
POOLS = [CONN]


def init():
    global CONN
    CONN = Conn("worker")


def noop():
    return 0


def read():
    return CONN.n, [c.n for c in POOLS]


if __name__ == "__main__":
    POOLS.append(Conn("second"))
    with Pool(1, initializer=init) as p:
        print(p.submit(noop).result())
        print(p.submit(read).result())

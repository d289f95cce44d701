"""Functions that another one has made, with a variable in common, are globals."""

from pool import Executor as Pool


def make():
    n = 0

    def inc():
        nonlocal n
        n += 1
        return n

    def get():
        return n

    return inc, get


inc, get = make()


def work():
    inc()
    return get()


if __name__ == "__main__":
    with Pool(1) as p:
        print(p.submit(work).result(), p.submit(work).result())

"""A decorator counts on the function that it wraps."""

from pool import Executor as Pool
import functools


def counted(fn):
    fn.calls = 0

    @functools.wraps(fn)
    def wrapper(*a):
        fn.calls += 1
        return fn(*a)

    return wrapper


@counted
def f(x):
    return x


def work(x):
    f(x)
    return f.__wrapped__.calls


if __name__ == "__main__":
    with Pool(1) as p:
        print(p.submit(work, 1).result(), p.submit(work, 1).result())

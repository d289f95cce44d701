"""Two functions share a variable of the function that has made them."""

from pool import Executor as Pool
import functools


def ratelimit(n):
    def deco(fn):
        count = 0

        @functools.wraps(fn)
        def wrapper(*a):
            nonlocal count
            count += 1
            if count > n:
                return "limited"
            return fn(*a)

        def reset():
            nonlocal count
            count = 0

        wrapper.reset = reset
        return wrapper

    return deco


@ratelimit(2)
def call(x):
    return x


def work():
    r = [call(i) for i in range(3)]
    call.reset()
    return r, call(9)


if __name__ == "__main__":
    with Pool(1) as p:
        print(p.submit(work).result())
        print(p.submit(work).result())

# only ours: plain pickle has no names for these
"""Decorators without functools.wraps, and classes of local scope, keep state in the script's globals."""

import threading

from pool import Executor

times = {}
lock = threading.Lock()


def timed(function):
    def wrapper(*args):
        with lock:
            times[function.__name__] = times.get(function.__name__, 0) + 1
        return function(*args)

    return wrapper


@timed
def square(number):
    return number * number


@timed
def cube(number):
    return number * square(number)


def report():
    return times


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(list(executor.map(square, range(3))))
        print(executor.submit(cube, 3).result())
        print(executor.submit(report).result())
        print(executor.submit(lambda: lock.locked()).result())
    print("here:", times)

# prints:
# [0, 1, 4]
# 27
# {'square': 4, 'cube': 1}
# False
# here: {}

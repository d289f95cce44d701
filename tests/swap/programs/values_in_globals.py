"""A value, an array and a lock of multiprocessing, made at the top, are shared by all processes."""

import multiprocessing

from pool import Executor

context = multiprocessing.get_context("spawn")
lock = context.Lock()
total = context.Value("i", 0)
squares = context.Array("i", 5)


def add(number):
    with lock:
        squares[number] = number * number
    with total.get_lock():
        total.value += number


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        list(executor.map(add, range(5)))
    print(total.value, squares[:])

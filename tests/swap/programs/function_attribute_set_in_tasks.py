"""A function keeps a cache in an attribute that it makes itself."""

from pool import Executor as Pool


def compute(x):
    if not hasattr(compute, "cache"):
        compute.cache = {}
    if x not in compute.cache:
        compute.cache[x] = x * x
    return compute.cache[x]


def size():
    compute(0)
    return sorted(compute.cache)


if __name__ == "__main__":
    with Pool(1) as p:
        print([f.result() for f in [p.submit(compute, i) for i in range(5)]])
        print(compute(100))  # the program itself, to compare
        print(p.submit(size).result())

# start methods: fork spawn
"""functools.lru_cache and functools.cached_property keep what tasks have worked out."""

from functools import cache, cached_property, lru_cache

from pool import Executor

worked = []


@lru_cache(maxsize=2)
def slow_square(number):
    worked.append(number)
    return number * number


@cache
def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


class Report:
    @cached_property
    def text(self):
        worked.append("text")
        return "the report"


REPORT = Report()


def text():
    return REPORT.text


def caches():
    return tuple(slow_square.cache_info()), tuple(fibonacci.cache_info()), worked


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(list(executor.map(slow_square, [2, 2, 3, 2, 4, 3])))
        print(executor.submit(fibonacci, 50).result())
        print([executor.submit(text).result() for _ in range(3)])
        print(executor.submit(caches).result())
    print("here:", slow_square.cache_info(), worked)

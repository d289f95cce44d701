# start methods: fork forkserver
# slow: others tell more of the same
"""Generator functions of the script feed the executor, run inside tasks, and go on from task to task."""

import itertools

from pool import Executor


def chunks(items, size):
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def primes():
    found = []
    for number in itertools.count(2):
        if all(number % prime for prime in found):
            found.append(number)
            yield number


def running_mean():
    total = count = 0
    mean = None
    while True:
        total += yield mean
        count += 1
        mean = total / count


more = primes()
means = running_mean()
next(means)


def next_primes(count):
    return list(itertools.islice(more, count))


def mean_with(number):
    return means.send(number)


def total(chunk):
    return sum(itertools.islice(primes(), len(chunk)))


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(list(executor.map(total, chunks(range(10), 4))))
        print(executor.submit(next_primes, 4).result())
        print(executor.submit(next_primes, 4).result())
        print([executor.submit(mean_with, number).result() for number in (1, 2, 6)])
    print("here:", next(more))

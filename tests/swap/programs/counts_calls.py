# start methods: fork forkserver
# also spawned
"""A task counts its calls in a global, in an attribute of itself and in a default argument."""

from pool import Executor

calls = 0


def count():
    global calls
    calls += 1
    return calls


def count_in_attribute():
    count_in_attribute.calls += 1
    return count_in_attribute.calls


count_in_attribute.calls = 0


def remember(number, seen=[]):
    seen.append(number)
    return list(seen)


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print([executor.submit(count).result() for _ in range(5)])
        print([executor.submit(count_in_attribute).result() for _ in range(3)])
        print([executor.submit(remember, number).result() for number in "abc"])
        print([executor.submit(count).result() for _ in range(2)])
    print("here:", calls, count_in_attribute.calls)

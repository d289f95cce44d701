# start methods: fork forkserver
"""A script whose name is no identifier."""

from pool import Executor

COUNTS = {}


class Word(str):
    pass


def count(word):
    COUNTS[word] = COUNTS.get(word, 0) + 1
    return Word(word), COUNTS[word]


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        results = list(executor.map(count, ["a", "b", "a"]))
    print(results, all(type(word) is Word for word, _ in results))

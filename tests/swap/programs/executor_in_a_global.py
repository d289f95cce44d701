"""The executor is a global made at the top, used by functions and ended at the end."""

from pool import Executor

executor = Executor(max_workers=1)
counts = {}


def count(word):
    counts[word] = counts.get(word, 0) + 1
    return word, counts[word]


def count_all(words):
    return [executor.submit(count, word).result() for word in words]


if __name__ == "__main__":
    print(count_all("aba"))
    executor.shutdown()
    print("here:", counts)

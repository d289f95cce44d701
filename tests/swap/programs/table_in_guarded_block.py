"""A table that the guarded block builds is searched by all tasks and changed by some."""

from pool import Executor

WORDS = []
index = None


def build(count):
    return [f"word{number:05}" for number in range(count)]


def find(number):
    return WORDS[number], index[WORDS[number]]


def change(number, word):
    WORDS[number] = word
    index[word] = number
    return len(WORDS)


if __name__ == "__main__":
    WORDS = build(20_000)
    index = {word: number for number, word in enumerate(WORDS)}
    with Executor(max_workers=1) as executor:
        print(list(executor.map(find, range(0, 20_000, 5_000))))
        print(executor.submit(change, 3, "changed").result())
        print(executor.submit(find, 3).result())
    print("here:", find(3))

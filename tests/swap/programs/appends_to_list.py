# start methods: fork forkserver
"""Tasks append to a list of the module and fill a deque, a set and a Counter."""

from collections import Counter, defaultdict, deque

from pool import Executor

HISTORY = []
LATEST = deque(maxlen=2)
LENGTHS = defaultdict(set)
LETTERS = Counter()


def read(word):
    HISTORY.append(word)
    LATEST.append(word)
    LENGTHS[len(word)].add(word)
    LETTERS.update(word)
    return len(HISTORY)


def report():
    lengths = {length: sorted(words) for length, words in sorted(LENGTHS.items())}
    return HISTORY, list(LATEST), lengths, LETTERS.most_common(2)


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(list(executor.map(read, ["tea", "milk", "tea", "eel"])))
        for part in executor.submit(report).result():
            print(part)
    print("here:", HISTORY, list(LATEST), dict(LENGTHS), LETTERS)

# slow: others tell more of the same
"""A whole small program: word counts of files, with stop words, a tally per process and a report."""

import argparse
import collections
import re
from pathlib import Path

from pool import Executor

STOP = frozenset({"the", "a"})
WORD = re.compile(r"\w+")
tally = collections.Counter()
options = None


def read(path):
    text = path.read_text()
    return text if options is None or options.keep_case else text.lower()


def count(path):
    words = collections.Counter(word for word in WORD.findall(read(path)) if word not in STOP)
    tally.update(words.keys())
    return path.name, words


def merge(counters):
    total = collections.Counter()
    for name, counter in counters:
        print(name, sum(counter.values()))
        total += counter
    return total


def write_examples(folder):
    folder.mkdir()
    for number, text in enumerate(["The cat sat", "A cat and the dog", "Dog and dog"]):
        (folder / f"{number}.txt").write_text(text)


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep-case", action="store_true")
    options = parser.parse_args()
    folder = Path("texts")
    write_examples(folder)
    with Executor(max_workers=2) as executor:
        total = merge(executor.map(count, sorted(folder.glob("*.txt"))))
    print(total.most_common())
    print(tally)


if __name__ == "__main__":
    main()

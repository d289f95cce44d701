# start methods: fork spawn
# slow: others tell more of the same
"""Results are of the script's classes: bases, abstract ones, protocols, nested ones and iterators."""

import abc
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pool import Executor


class Node(abc.ABC):
    @abc.abstractmethod
    def value(self): ...


class Number(Node):
    def __init__(self, number):
        self.number = number

    def value(self):
        return self.number


class Sum(Node):
    class Term:
        def __init__(self, node, sign=1):
            self.node, self.sign = node, sign

    def __init__(self, *terms):
        self.terms = terms

    def value(self):
        return sum(term.sign * term.node.value() for term in self.terms)


class Row(Sequence):
    def __init__(self, *cells):
        self.cells = cells

    def __getitem__(self, index):
        return self.cells[index]

    def __len__(self):
        return len(self.cells)


@runtime_checkable
class Valued(Protocol):
    def value(self): ...


class Text(str):
    """A string with a language."""

    language = "en"


def parse(text):
    return Sum(*(Sum.Term(Number(int(word)), -1 if word.startswith("0") else 1) for word in text.split()))


def check(node):
    return isinstance(node, Node), isinstance(node.terms[0], Sum.Term), isinstance(node, Valued)


def row(length):
    return Row(*range(length))


def text(characters):
    result = Text(characters)
    result.language = "fr"
    return result


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        tree = executor.submit(parse, "7 02 10").result()
        print(isinstance(tree, Node), type(tree.terms[0]) is Sum.Term, tree.value())
        print(executor.submit(check, tree).result(), executor.submit(tree.value).result())
        cells = executor.submit(row, 3).result()
        print(isinstance(cells, Row), list(reversed(cells)), 2 in cells)
        word = executor.submit(text, "mot").result()
        print(word, type(word) is Text, word.language, Text.language)

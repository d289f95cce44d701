"""Tells which inputs an interrupted run has written already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

from .console import Unusable
from .inputs import Inputs, Item, digest, parse_json

__all__ = ["Written", "check_fits", "read_written"]

_START = b'{"input": '


class Written:
    """The lines of an interrupted run's output that were written whole. Used by one thread.

    In order they must be those of the first inputs; else, each may belong to any input, and equal
    inputs are counted.

    Args:
        path: the output file.
        length: bytes of the whole lines.
        count: number of the whole lines.
        failed: how many of them have an error.
        ordered: whether the lines are in the order of the inputs.
    """

    def __init__(self, path: str, length: int, count: int, failed: int, *, ordered: bool) -> None:
        self.path = path
        self.length = length
        self.count = count
        self.failed = failed
        self.left = count
        self._lines = _digests(path, count)
        self._ordered = ordered
        self._unordered: Counter[bytes] = Counter()
        if not ordered:
            self._unordered.update(self._lines)

    def has(self, item: Item, source: str) -> bool:
        """Return whether this input was written, and take its line out.

        Raises:
            Unusable: the next line is of another input.
        """
        if not self.left:
            return False
        mark = digest(item.value)
        if self._ordered:
            if next(self._lines) != mark:
                raise Unusable(
                    f"{self.path} does not fit: its line {self.count - self.left + 1} is not for line "
                    f"{item.line} of {source}; output written with --unordered is continued with it"
                )
        elif self._unordered[mark] > 1:
            self._unordered[mark] -= 1
        elif not self._unordered.pop(mark, 0):
            return False
        self.left -= 1
        if not self.left:
            # Its file would stay open until the end.
            self._lines.close()
        return True

    def check_all_found(self, source: str) -> None:
        """Raise Unusable if, after the last input, there is a line that belongs to none."""
        if self.left:
            number = self.count - self.left + 1
            if not self._ordered:
                marks = enumerate(_digests(self.path, self.count), 1)
                number = next(at for at, mark in marks if mark in self._unordered)
            raise Unusable(f"{self.path} does not fit: its line {number} is for no line of {source}")


def read_written(path: str, *, ordered: bool) -> Written:
    """Read the output of an interrupted run; one that is not there has no lines.

    A last line without its end is left out.

    Raises:
        Unusable: the file cannot be read, or a line in it is none of ours.
    """
    length = count = failed = 0
    try:
        with open(path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    # Only what looks like a line of ours will be cut off.
                    if not (line.startswith(_START) or _START.startswith(line)):
                        raise Unusable(f"line {count + 1} of {path} is not a result of an earlier run")
                    break
                count += 1
                failed += "error" in _line_of(line, count, path)
                length += len(line)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Unusable(f"cannot read {path}: {error.strerror}") from None
    return Written(path, length, count, failed, ordered=ordered)


def check_fits(written: Written, inputs: Inputs) -> None:
    """Raise Unusable unless every line belongs to an input. Uses ``written`` up."""
    if not written.left:
        return
    for item in inputs:
        written.has(item, inputs.name)
        if not written.left:
            return
    written.check_all_found(inputs.name)


def _digests(path: str, count: int) -> Generator[bytes]:
    if count:
        with open(path, "rb") as file:
            for number in range(1, count + 1):
                yield digest(_line_of(file.readline(), number, path)["input"])


def _line_of(line: bytes, number: int, path: str) -> dict[str, object]:
    try:
        value = parse_json(line)
    except ValueError:
        value = None
    if not isinstance(value, dict) or "input" not in value:
        raise Unusable(f"line {number} of {path} is not a result of an earlier run")
    return value

"""Reads the inputs, one line at a time."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, BinaryIO

from .console import Unusable

__all__ = ["Inputs", "Item", "digest", "parse_json"]

# Counting the lines of more than this takes noticeable time.
COUNTED_BYTES = 256 * 2**20


def digest(value: Any) -> bytes:
    """Return 16 bytes that stand for one input, the same for equal JSON values."""
    text = json.dumps(value, sort_keys=True)
    return blake2b(text.encode(), digest_size=16).digest()


def parse_json(line: bytes) -> Any:
    """Return the value of one line; raise ValueError where it is not JSON, NaN included."""
    try:
        return json.loads(line, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True, slots=True)
class Item:
    """One input.

    Attributes:
        line: the number of its line, from 1.
        value: the input, as it is written to the output.
        args: positional arguments for the function.
        kwargs: keyword arguments for the function.
    """

    line: int
    value: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Inputs:
    """The inputs of one run.

    Args:
        path: file to read; None or ``"-"`` for standard input.
        as_json: each line is a JSON value, and blank lines are left out.

    Raises:
        Unusable: the file cannot be opened.

    Used by one thread at a time.
    """

    def __init__(self, path: str | None, *, as_json: bool) -> None:
        self._as_json = as_json
        self._path = None if path in (None, "-") else path
        self.name = "standard input" if self._path is None else self._path
        try:
            # A file object of our own: a thread that waits in sys.stdin would hold its lock at exit.
            source: str | int = 0 if self._path is None else self._path
            self._file: BinaryIO = open(source, "rb", closefd=self._path is not None)  # noqa: SIM115
        except OSError as error:
            raise Unusable(f"cannot read {self.name}: {error.strerror}") from None

    @property
    def regular(self) -> bool:
        """Whether it is a named regular file, which may be read more than once."""
        return self._path is not None and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)

    @property
    def is_terminal(self) -> bool:
        """Whether the inputs are typed."""
        return self._file.isatty()

    def is_file(self, path: str) -> bool:
        """Return whether the inputs come from the file of this name."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(path)) and not os.isatty(
                self._file.fileno()
            )
        except OSError:
            return False

    def again(self) -> Inputs:
        """Return the same inputs, from the first one; only for a regular file."""
        return Inputs(self._path, as_json=self._as_json)

    def count(self) -> int | None:
        """Return the number of lines, None where counting them would take long or lose them."""
        if not self.regular or os.fstat(self._file.fileno()).st_size > COUNTED_BYTES:
            return None
        lines = 0
        last = b"\n"
        with self.again()._file as file:
            while block := file.read(2**20):
                lines += block.count(b"\n")
                last = block[-1:]
        return lines + (last != b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[Item]:
        """Yield the inputs; raise Unusable where the file cannot be read or a line is not JSON."""
        number = 0
        while True:
            try:
                line = self._file.readline()
            except OSError as error:
                raise Unusable(f"cannot read {self.name} after line {number}: {error.strerror}") from None
            if not line:
                return
            number += 1
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            if not self._as_json:
                # Bytes that are not UTF-8 come out of the output again as they were.
                text = line.decode("utf-8", "surrogateescape")
                yield Item(number, text, (text,), {})
            elif line.strip():
                yield self._json_item(number, line)

    def _json_item(self, number: int, line: bytes) -> Item:
        try:
            value = parse_json(line)
        except ValueError as error:
            raise Unusable(f"line {number} of {self.name} is not JSON: {error}") from None
        if isinstance(value, dict):
            return Item(number, value, (), value)
        return Item(number, value, tuple(value) if isinstance(value, list) else (value,), {})

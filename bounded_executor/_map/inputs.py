"""What a map's inputs become on their way: pulled one by one and pickled, or numbers several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

from .._serialize import pickling
from .._serialize.payload import Item

__all__ = ["Inputs"]

# Numbers are pulled so many at a time, once the first was one. Other things may be heavy.
NUMBERS_AT_ONCE = 16


class Inputs(Iterator[tuple[Any, ...]]):
    """The inputs of a map; one thread at a time may use them.

    Args:
        iterator: yields the arguments of each call.
        dump: makes of them what travels.
        numbers: they may be left as they are where they are nothing but numbers.
    """

    def __init__(
        self,
        iterator: Iterator[tuple[Any, ...]],
        dump: Callable[[tuple[Any, ...]], Item],
        *,
        numbers: bool,
    ) -> None:
        self._iterator = iterator
        self._dump = dump
        self._numbers = numbers
        self._at_once = 1

    def __next__(self) -> tuple[Any, ...]:
        return next(self._iterator)

    def pull(self, want: int, most: float) -> tuple[list[Item], BaseException | None, bool]:
        """Take up to ``want`` inputs, until they weigh ``most`` bytes or one cannot be pickled.

        Returns:
            What they become; the error of the one behind them, where that cannot be pickled; whether
            there are no more.

        Raises:
            BaseException: what the iterator has raised; the inputs before that come first.
        """
        items: list[Item] = []
        weight = 0
        while len(items) < want and weight < most:
            asked = min(self._at_once, want - len(items))
            block: list[tuple[Any, ...]] = []
            failed = False
            try:
                block.extend(islice(self._iterator, asked))
            except BaseException as error:
                if not items and not block:
                    raise
                # It is raised when more is asked for.
                self._iterator = _raising(error)
                failed = True
            if self._numbers and pickling.are_numbers(block):
                items += block
                # They are not many enough to weigh anything.
                weight += len(block)
                self._at_once = NUMBERS_AT_ONCE
            else:
                self._at_once = 1
                for number, args in enumerate(block):
                    try:
                        items.append(self._dump(args))
                    except Exception as error:
                        self._iterator = chain(block[number + 1 :], self._iterator)
                        return items, error, False
                    weight += len(items[-1])
            if failed or len(block) < asked:
                return items, None, not failed
        return items, None, False


def _raising(error: BaseException) -> Iterator[Any]:
    raise error
    yield

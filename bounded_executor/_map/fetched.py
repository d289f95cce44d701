"""What a map has fetched and not yielded yet: several results may have come together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from .._core.callbacks import load_outcome
from .._serialize.outcomes import Group
from .results import Outcome

__all__ = ["Fetched"]


class Fetched:
    """Results in the order in which they are yielded; one thread at a time may use them.

    Attributes:
        values: those that need not be unpickled any more, which come first.
    """

    def __init__(self) -> None:
        self.values: deque[Any] = deque()
        self._loaders: deque[Callable[[], Any]] = deque()

    def __len__(self) -> int:
        return len(self.values) + len(self._loaders)

    def __bool__(self) -> bool:
        return bool(self.values or self._loaders)

    def add(self, outcome: Outcome) -> int:
        """Keep an outcome; returns for how many items it is."""
        if not isinstance(outcome, Group):
            self._loaders.append(outcome)
            return 1
        if outcome.together:
            self.values.extend(outcome.values())
        else:
            self._loaders.extend(partial(load_outcome, ok, body) for ok, body in outcome.each())
        return outcome.count

    def next(self) -> Any:
        """Return the next result, or raise its error."""
        if self.values:
            return self.values.popleft()
        load = self._loaders.popleft()
        try:
            return load()
        except StopIteration as error:
            # As it is, it would end the map as if the inputs had ended.
            raise RuntimeError("a task of the map raised StopIteration") from error
        finally:
            # An error has this frame in its traceback, and this may have the error.
            del load

    def clear(self) -> None:
        """Drop all."""
        self.values.clear()
        self._loaders.clear()

"""Passes on what befalls tasks to the user's ``on_event``, on the thread that resolves futures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from .._log import Log
from .._serialize import pickling
from .._serialize.payload import Pickled
from ..events import TaskEvent
from .callbacks import Delivery

__all__ = ["Events"]

_log = Log()


class Events:
    """Makes events. Any thread may tell of one; none of the user's code runs before they are delivered.

    Args:
        on_event: called with each, one at a time.
        delivery: the thread that calls it.
    """

    def __init__(self, on_event: Callable[[TaskEvent], object], delivery: Delivery) -> None:
        self._on_event = on_event
        self._delivery = delivery

    def tell(
        self,
        kind: Literal["succeeded", "failed", "cancelled", "retried"],
        function: str,
        count: int = 1,
        seconds: float | None = None,
        error: BaseException | Pickled | None = None,
    ) -> None:
        """Tell of something that befell tasks; see :class:`TaskEvent`. An error may be pickled still."""
        self._delivery.call(partial(self._deliver, kind, function, count, seconds, error))

    def _deliver(
        self,
        kind: Literal["succeeded", "failed", "cancelled", "retried"],
        function: str,
        count: int,
        seconds: float | None,
        error: BaseException | Pickled | None,
    ) -> None:
        try:
            line = None if error is None else _one_line(error)
            self._on_event(TaskEvent(kind, function, count, seconds, line))
        except BaseException:
            _log.critical("on_event raised", exc_info=True)


def _one_line(error: BaseException | Pickled) -> str:
    if not isinstance(error, BaseException):
        error = pickling.load_error(error)
    name = type(error).__name__
    try:
        text = str(error).partition("\n")[0]
    except Exception:
        # What the task's own class does there is not the event's matter.
        return name
    return f"{name}: {text}" if text else name

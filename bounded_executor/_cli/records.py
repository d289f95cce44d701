"""What the package says in its log, as lines of the command line's own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from .console import say

__all__ = ["records_said"]


class _Said(logging.Handler):
    """Says each record in one line; only a mistake inside brings its traceback, to be reported."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = " ".join(record.getMessage().split())
            if record.exc_info:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
            say(text)
        except Exception:
            self.handleError(record)


@contextlib.contextmanager
def records_said(*, quiet: bool) -> Iterator[None]:
    """Have warnings and worse said while a block runs, unless the user's module has set up logging itself.

    Args:
        quiet: errors only.
    """
    logger = logging.getLogger("bounded_executor")
    if logger.hasHandlers():
        # They would be there twice.
        yield
        return
    handler = _Said(logging.ERROR if quiet else logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)

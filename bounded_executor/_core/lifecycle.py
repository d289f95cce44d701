"""How far an executor is on its way to its end. No lock: the owner's guards what several threads change."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import BrokenProcessPool

__all__ = ["ErrorFactory", "Phase", "broken", "late_map", "shutdown_error"]

ErrorFactory = Callable[[], BaseException]


class Phase:
    """The states, each of which is entered once and never left.

    Attributes:
        is_closed: no new work is accepted from users.
        is_drained: the backend may end once nothing waits any more.
        is_cancelling: what no worker has had is cancelled.
        error: makes the error that everything fails with; None: not broken.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self.is_drained = False
        self.is_cancelling = False
        self.error: ErrorFactory | None = None

    def accepts(self, after_close: bool) -> bool:
        """Return whether new work is accepted; ``after_close``: from the executor itself."""
        if self.error is not None:
            return False
        return not self.is_closed or (after_close and not self.is_drained and not self.is_cancelling)

    def refusal(self) -> BaseException:
        """Return the error for work that is not accepted."""
        return self.error() if self.error is not None else shutdown_error()

    def check(self) -> None:
        """Raise the error for new work of a user's, if it is not accepted."""
        if not self.accepts(False):
            raise self.refusal()


def broken(message: str, cause: BaseException | None) -> ErrorFactory:
    """Return what makes a ``BrokenProcessPool`` with this message and cause, anew each time."""

    def make() -> BaseException:
        error = BrokenProcessPool(message)
        error.__cause__ = cause
        return error

    return make


def shutdown_error() -> RuntimeError:
    """Return the standard library's error for work that comes too late."""
    return RuntimeError("cannot schedule new futures after shutdown")


def late_map(name: str, timeout: float | None, yielded: int, outstanding: int) -> Exception:
    """Return the error for a map that has not ended by its deadline."""
    # concurrent.futures' own class is this one only since Python 3.11.
    from concurrent.futures import TimeoutError as FuturesTimeoutError

    return FuturesTimeoutError(
        f"{name} did not finish within timeout={timeout} seconds: {yielded} results yielded, "
        f"{outstanding} outstanding"
    )

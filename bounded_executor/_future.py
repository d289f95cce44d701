"""What ``submit`` returns."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures._base import PENDING, RUNNING
from time import monotonic
from typing import Any, NoReturn, TypeVar, cast

from ._locks import Condition
from ._serialize.payload import Remote
from ._unretrieved import Failure

__all__ = ["BoundedFuture"]

T = TypeVar("T")


class BoundedFuture(Future[T]):
    """A future whose ``cancel`` gives the slot back at once, and that knows how its call ran.

    Attributes:
        seconds: how long the call ran in its process, in its last attempt; None until it is done, and
            where nobody knows, as after a crash. Short calls that came back together share their time
            evenly.
        attempts: how often the call was started: 1 without retries, 0 if it never was, and until it is
            done.

    Both are set before the future is resolved, and do not change after that.
    """

    seconds: float | None = None
    attempts: int = 0
    _forget: Callable[[], object] | None = None
    _asked_for = False
    _failure: Failure | None = None

    def __init__(self) -> None:
        super().__init__()
        # Making another one would cost more than all else here.
        self._condition.__class__ = Condition

    def __reduce__(self) -> NoReturn:
        raise TypeError("a future cannot be copied or pickled. Pass on its result() instead.")

    def cancel(self) -> bool:
        """Cancel the call if no worker has been given it, like the standard library's futures."""
        cancelled = super().cancel()
        forget = self._forget
        if cancelled and forget is not None:
            forget()
        return cancelled

    def result(self, timeout: float | None = None) -> T:
        """Return the call's result or raise its error, like the standard library's futures.

        Args:
            timeout: seconds to wait; None: no limit.

        Raises:
            TimeoutError: it took longer.
            CancelledError: the call was cancelled.
            BaseException: what the call raised; or its result stayed with the worker that made it
                (``BoundedExecutor.for_dask``) and is lost.
        """
        try:
            deadline = None if timeout is None else monotonic() + timeout
            result: Any = super().result(timeout)
            if isinstance(result, Remote):
                # Two threads that ask at once both fetch it, and find the same.
                result = result.fetch(None if deadline is None else max(0.0, deadline - monotonic()))
                self._result = result
            return cast(T, result)
        except BaseException:
            # Or it took too long, and nothing was learned of the outcome.
            if self.done():
                self._ask_for()
            raise
        finally:
            # An error has this frame in its traceback, and the future has the error.
            del self

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the call's error, None where it returned, like the standard library's futures.

        Args:
            timeout: seconds to wait; None: no limit.

        Raises:
            TimeoutError: it took longer.
            CancelledError: the call was cancelled.
        """
        error = super().exception(timeout)
        if error is not None:
            self._ask_for()
        return error

    def add_done_callback(self, fn: Callable[[BoundedFuture[T]], object]) -> None:
        """Have ``fn`` called with this future when it is done, like the standard library's futures.

        Args:
            fn: called on the thread that runs done-callbacks; where the future is done already, here and now.
                What it raises is logged.
        """
        # Before: the outcome may come at any moment.
        self._ask_for()
        super().add_done_callback(cast("Callable[[Future[T]], object]", fn))

    def is_asked_for(self) -> bool:
        """Whether something has asked for the outcome, or will learn of it."""
        return self._asked_for

    def hold(self, failure: Failure) -> None:
        """Hold this until the outcome is asked for; comes before the future is resolved."""
        self._failure = failure
        if self._asked_for:
            # In the meantime, by another thread.
            self._ask_for()

    def _ask_for(self) -> None:
        self._asked_for = True
        failure = self._failure
        if failure is not None:
            failure.retrieved = True
            self._failure = None

    def _get_snapshot(self) -> Any:
        # What asyncio copies from since Python 3.15, where it used to ask for the error and the result.
        done, cancelled, result, error = super()._get_snapshot()  # type: ignore[misc]
        if error is not None:
            self._ask_for()
        if isinstance(result, Remote):
            try:
                result = self.result()
            except BaseException as lost:
                # Raised here it would end a callback of the event loop, and what waits for it would wait on.
                result, error = None, lost
        return done, cancelled, result, error

    def _wait_again(self, forget: Callable[[], object] | None) -> None:
        """Be cancellable once more: the worker that was given the call has not begun it."""
        self._forget = forget
        with self._condition:
            if self._state == RUNNING:
                self._state = PENDING

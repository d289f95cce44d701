"""What is due when: for many, each with the same time allowed, so that the first to begin is the first due.

Used by one thread.
"""

from __future__ import annotations

from collections.abc import Hashable
from time import monotonic
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

Owner = TypeVar("Owner", bound=Hashable)


class Deadlines(Generic[Owner]):
    """Tells who has used up the time that each is allowed.

    Args:
        seconds: the time; None: nobody is ever due.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._due: dict[Owner, float] = {}

    def __contains__(self, owner: Owner) -> bool:
        return owner in self._due

    def start(self, owner: Owner, now: float | None = None) -> None:
        """Allow ``owner`` the time from now on, also if it had begun before."""
        if self._seconds is not None:
            # Taken out first: a dict keeps the place of a key that it has.
            self._due.pop(owner, None)
            self._due[owner] = (monotonic() if now is None else now) + self._seconds

    def stop(self, owner: Owner) -> None:
        """Forget ``owner``, if it is there."""
        self._due.pop(owner, None)

    def next(self) -> float | None:
        """Return when the next is due, on the clock of ``time.monotonic``; None where none is."""
        # Asked for in every turn of the loop, and nearly always nobody is there.
        return next(iter(self._due.values())) if self._due else None

    def expired(self) -> list[Owner]:
        """Return those whose time is over, each once."""
        if not self._due:
            return []
        now = monotonic()
        late = []
        for owner, due in self._due.items():
            if due > now:
                break
            late.append(owner)
        for owner in late:
            del self._due[owner]
        return late

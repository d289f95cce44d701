"""Counts what happened in a soak run, from any thread."""

from __future__ import annotations

import threading
from collections import Counter

# What must never happen.
BAD = ("lost", "wrong", "hung", "broken")


class Tally:
    """Counters by name, and the first few descriptions of what must not happen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self.complaints: list[str] = []

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._counts[name] += count

    def complain(self, name: str, what: str, count: int = 1) -> None:
        """Count something that must not happen, and say what it was."""
        with self._lock:
            self._counts[name] += count
            if len(self.complaints) < 20:
                self.complaints.append(f"{name}: {what}")

    def named(self, prefix: str) -> dict[str, int]:
        """Return the counters whose names begin like this, without that beginning."""
        with self._lock:
            found = {name: n for name, n in self._counts.items() if name.startswith(prefix)}
        return {name[len(prefix) :]: found[name] for name in sorted(found)}

    @property
    def bad(self) -> int:
        return sum(self[name] for name in BAD)

"""Counts what happened in a soak run, from any thread, and sums what several programs have counted."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

# What must never happen.
BAD = ("lost", "wrong", "twice", "leaked", "hung", "broken")
# Descriptions that are kept, of each program.
KEPT = 20


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
        """Count something that must not happen, and describe it."""
        with self._lock:
            self._counts[name] += count
            if len(self.complaints) < KEPT:
                self.complaints.append(f"{name}: {what}")

    def named(self, prefix: str) -> dict[str, int]:
        """Return the counters whose names begin like this, without that beginning."""
        with self._lock:
            found = {name: n for name, n in self._counts.items() if name.startswith(prefix)}
        return {name[len(prefix) :]: found[name] for name in sorted(found)}

    def state(self) -> dict[str, Any]:
        """Return everything in a form that JSON has."""
        with self._lock:
            return {"counts": dict(self._counts), "complaints": list(self.complaints)}

    def merge(self, state: dict[str, Any], who: str) -> None:
        """Add what another program has counted.

        Args:
            state: what its :meth:`state` returned.
            who: stands before its descriptions.
        """
        with self._lock:
            self._counts.update(state["counts"])
            self.complaints += [f"{who}: {text}" for text in state["complaints"]]

    @property
    def bad(self) -> int:
        return sum(self[name] for name in BAD)

"""What an executor tells the callable that was given as ``on_event``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["TaskEvent"]


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something that befell a task, or several short ones that came back together.

    Attributes:
        kind: ``"succeeded"``: it returned; ``"failed"``: it raised, or was ended and is not run again;
            ``"cancelled"``: it was never started, and will not be; ``"retried"``: its process died or it
            timed out, and it is run again.
        function: the name of the function.
        count: tasks that it is about.
        seconds: how long they ran, all together; None where that is not known.
        error: one line about the error of one that failed or is run again; else None.
    """

    kind: Literal["succeeded", "failed", "cancelled", "retried"]
    function: str
    count: int
    seconds: float | None
    error: str | None

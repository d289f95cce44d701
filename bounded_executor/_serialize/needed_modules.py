"""Which modules a function will need where it runs, told before it has run anywhere."""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle

from .namespace import NAMES
from .pickling import can_import

__all__ = ["modules_of"]


def modules_of(fn: Callable[..., Any]) -> tuple[str, ...]:
    """Return names of modules that a worker will import to run ``fn``, as far as its pickle tells."""
    inner = getattr(fn, "func", fn)
    module = getattr(inner, "__module__", None)
    if module in NAMES:
        # Its import, or the globals that are sent before the first task, bring them.
        return ()
    if isinstance(module, str) and can_import(module):
        return () if module == "builtins" else (module,)
    try:
        words = {word for _, word, _ in pickletools.genops(cloudpickle.dumps(inner)) if isinstance(word, str)}
    except Exception:
        # The call itself will fail for the same reason, and say so.
        return ()
    return tuple(sorted(word for word in words if word in sys.modules and can_import(word)))

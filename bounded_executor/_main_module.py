"""The user's ``__main__`` in a task process, for code that looks functions up in it by name.

What is pickled here never needs it, since functions of ``__main__`` travel by value. But some
programs pass names around: APScheduler sends ``"__main__:job"``. The standard library runs the main
script once more in every process that it spawns; here that happens only when something is looked up
that is not there.
"""

from __future__ import annotations

import contextlib
import sys
from multiprocessing import spawn
from types import ModuleType
from typing import Any

__all__ = ["describe", "install"]


def describe() -> dict[str, Any] | None:
    """Return how this process's main module can be imported elsewhere, None if it cannot be."""
    main = sys.modules.get("__main__")
    if isinstance(main, _LazyMain):
        return main.__dict__["_how"]  # type: ignore[no-any-return]
    data: dict[str, Any] = {}
    with contextlib.suppress(RuntimeError):
        data = spawn.get_preparation_data("main")
    return {key: data[key] for key in data if key.startswith("init_main_from_")} or None


def install(how: dict[str, Any] | None) -> None:
    """Make ``__main__`` the module that :func:`describe` described, imported at first use."""
    sys.modules["__main__"] = _LazyMain(how)


class _LazyMain(ModuleType):
    def __init__(self, how: dict[str, Any] | None) -> None:
        super().__init__("__main__")
        self.__dict__["_how"] = how

    def __getattr__(self, name: str) -> Any:
        how = self.__dict__["_how"]
        if name.startswith("__") or how is None or sys.modules.get("__main__") is not self:
            raise AttributeError(f"module '__main__' has no attribute {name!r}")
        # It replaces this object, in sys.modules, by the module itself.
        spawn.prepare(how)
        return getattr(sys.modules["__main__"], name)

"""Stands for the executors where the import of a main module asks for them, which few of its tasks will use.

The parent's half of this package would make each supervisor slower to start and all of its workers larger.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["Deferred"]


class Deferred:
    """Becomes the class that it stands for when it is called, asked for an attribute, or made a base.

    Args:
        module: where the class is.
        name: its name.
    """

    def __init__(self, module: str, name: str) -> None:
        self.__dict__.update(_module=module, __name__=name, __qualname__=name, __module__=module)

    def _real(self) -> Any:
        return _find(self._module, self.__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real(), name, value)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._real(),)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())

    def __subclasscheck__(self, cls: type) -> bool:
        return issubclass(cls, self._real())

    def __or__(self, other: Any) -> Any:
        return self._real() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._real()

    def __reduce__(self) -> tuple[Any, ...]:
        return _find, (self._module, self.__name__)

    def __eq__(self, other: object) -> bool:
        return bool(self._real() == (other._real() if isinstance(other, Deferred) else other))

    def __hash__(self) -> int:
        return hash(self._real())

    def __repr__(self) -> str:
        return repr(self._real())


def _find(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)

"""Finds the function that is to be called."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from .problems import Unusable, one_line

__all__ = ["check_modules", "find_function", "see_current_directory"]


def see_current_directory() -> None:
    """Have modules of the current directory imported first, as ``python -m`` does."""
    here = os.getcwd()
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)


def find_function(name: str) -> Callable[..., Any]:
    """Import what ``package.module:function`` names.

    Args:
        name: module and function, which may be an attribute of a class (``module:Class.method``).

    Raises:
        Unusable: there is no such module or function, or it cannot be called.
    """
    module_name, colon, attributes = name.partition(":")
    if not (module_name and colon and attributes):
        raise Unusable(f"{name!r} does not name a function: write it as package.module:function")
    found: Any = _import(module_name)
    where = f"module {module_name!r}"
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise Unusable(f"{where} has no {attribute!r}, asked for by {name!r}") from None
        where = f"{attribute!r} of {where}"
    if not callable(found):
        raise Unusable(f"{name!r} is not callable, it is of type {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def check_modules(names: Iterable[str]) -> None:
    """Raise Unusable for the first name that no module is found for; imports none but their packages."""
    for name in names:
        try:
            known = importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            known = False
        if not known:
            raise Unusable(f"there is no module {name!r} to preload")


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise Unusable(f"there is no module {error.name!r}, asked for by {name!r}") from None
        raise Unusable(f"module {name!r} cannot be imported: {one_line(error)}") from None
    except (Exception, SystemExit) as error:
        raise Unusable(f"module {name!r} cannot be imported: {one_line(error)}") from None

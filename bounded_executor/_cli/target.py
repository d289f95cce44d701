"""Finds the function that is to be called."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from typing import Any

from .console import Unusable, one_line

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
        module_name, dot, attributes = name.rpartition(".")
        hint = f", as {module_name}:{attributes}" if dot and module_name and attributes and not colon else ""
        raise Unusable(f"{name!r} does not name a function: write it as package.module:function{hint}")
    found: Any = _import(module_name)
    where = f"module {module_name!r}"
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            hint = _nearly(attribute, _callables(found))
            raise Unusable(f"{where} has no {attribute!r}, asked for by {name!r}{hint}") from None
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
            raise Unusable(f"there is no module {name!r} to preload{_nearly_module(name)}")


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            hint = _nearly_module(error.name)
            raise Unusable(f"there is no module {error.name!r}, asked for by {name!r}{hint}") from None
        raise Unusable(f"module {name!r} cannot be imported: {one_line(error)}") from None
    except (Exception, SystemExit) as error:
        raise Unusable(f"module {name!r} cannot be imported: {one_line(error)}") from None


def _nearly(name: str, names: Iterable[str]) -> str:
    """Return a question about the name that was meant, as the end of a message; empty where there is none."""
    close = difflib.get_close_matches(name, names, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def _nearly_module(name: str) -> str:
    parent, _, last = name.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", ()) if parent else None
    names = [f"{parent}.{found.name}" if parent else found.name for found in pkgutil.iter_modules(path)]
    return _nearly(name, names if last else ())


def _callables(owner: Any) -> list[str]:
    names = []
    for name in dir(owner):
        # What an attribute does when it is asked for is its own matter.
        with contextlib.suppress(Exception):
            if callable(getattr(owner, name)) and not name.startswith("__"):
                names.append(name)
    return names

"""The state of functions, classes and enum members of the main script, beyond what their names stand for.

A program may set attributes of a function, fill its default arguments, count in its closure, register further
implementations with :func:`functools.singledispatch`, delete attributes of a class, or set some of an enum
member. Both sides look at the same, and only what differs is set. The variables that a function has from
functions around it are cells, which several functions may share: each is a value of its own.
"""

from __future__ import annotations

import functools
import marshal
from enum import Enum
from types import CellType, CodeType, FunctionType
from typing import Any

__all__ = [
    "DISPATCHING",
    "dump_code",
    "is_special",
    "make_cell",
    "reduce_cell",
    "set_cell",
    "set_state",
    "state_of",
]

DISPATCHING = getattr(functools.singledispatch(lambda _: None), "__code__", None)


def is_special(name: str) -> bool:
    """Return whether Python itself uses this name."""
    return name.startswith("__") and name.endswith("__")


def state_of(obj: Any) -> Any:
    """Return the state of a function or class, for pickling; None if it has none."""
    if isinstance(obj, FunctionType):
        if obj.__code__ is DISPATCHING:
            return tuple(vars(obj)["registry"].items())
        attributes = {name: value for name, value in vars(obj).items() if name != "__wrapped__"}
        code = None
        is_other = obj.__code__.co_name != obj.__name__ or "<" in obj.__qualname__
        if is_other and "__wrapped__" not in vars(obj):
            # The program has given it the code of another function, or the name to another one.
            code = dump_code(obj.__code__)
        if not (attributes or obj.__defaults__ or obj.__kwdefaults__ or code):
            return None
        return attributes, obj.__defaults__, obj.__kwdefaults__, code
    if issubclass(obj, Enum):
        found = {name: _attributes_of(member) for name, member in obj.__members__.items()}
        return found if any(found.values()) else None
    return tuple(sorted(name for name in vars(obj) if not is_special(name)))


def set_state(obj: Any, state: Any, imported: dict[str, Any]) -> None:
    """Set what :func:`state_of` has returned in another process.

    Args:
        obj: the function or class.
        state: its new state.
        imported: attributes of a class, as the import has left them.
    """
    if isinstance(obj, FunctionType):
        if obj.__code__ is DISPATCHING:
            known = vars(obj)["registry"]
            for cls, implementation in state:
                if _code_of(known.get(cls)) != _code_of(implementation):
                    obj.register(cls, implementation)  # type: ignore[attr-defined]
            return
        attributes, defaults, keywords, code = state or ({}, None, None, None)
        if code is not None:
            obj.__code__ = marshal.loads(code)
        for name in set(vars(obj)) - set(attributes) - {"__wrapped__"}:
            del vars(obj)[name]
        vars(obj).update(attributes)
        obj.__defaults__, obj.__kwdefaults__ = defaults, keywords
    elif issubclass(obj, Enum):
        for name, attributes in (state or {}).items():
            vars(obj.__members__[name]).update(attributes)
    else:
        for name in set(imported) - set(state):
            if not is_special(name) and vars(obj).get(name) is imported[name]:
                delattr(obj, name)


def _attributes_of(member: Enum) -> dict[str, Any]:
    return {name: value for name, value in vars(member).items() if not name.startswith("_")}


def _code_of(function: Any) -> Any:
    return getattr(function, "__code__", function)


def dump_code(code: CodeType) -> bytes:
    """Return code as bytes that are the same in all processes, as far as Python has such a form."""
    try:
        # Later versions say which constants have other references, so that the bytes depend on these.
        return marshal.dumps(code, 2)
    except ValueError:
        # It has a constant that this version knows nothing of, a slice.
        return marshal.dumps(code)


def make_cell() -> CellType:
    """Return an empty cell."""
    return CellType()


def set_cell(cell: CellType, contents: tuple[Any, ...]) -> None:
    """Have a cell contain what :func:`reduce_cell` has found in another one."""
    if contents:
        (cell.cell_contents,) = contents


def reduce_cell(cell: CellType) -> tuple[Any, ...]:
    """Return what a pickle has for a cell, which may be in a circle with what it contains."""
    try:
        contents: tuple[Any, ...] = (cell.cell_contents,)
    except ValueError:
        contents = ()
    return make_cell, (), contents, None, None, set_cell

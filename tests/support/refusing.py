"""Exceptions that refuse attributes, or fail at whatever they are asked; for workers to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int
    text: str = "frozen"


@dataclass(frozen=True)
class SlottedError(Exception):
    __slots__ = ("code",)
    code: int


class SealedError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.__dict__["code"] = code

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise TypeError(f"{name} is not to be set")


class LockedTracebackError(Exception):
    """Has what the interpreter sets as properties without a setter."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    __cause__ = property(lambda self: None)  # type: ignore[assignment]
    __context__ = property(lambda self: None)  # type: ignore[assignment]
    __traceback__ = property(lambda self: None)  # type: ignore[assignment]


class SilentError(Exception):
    """Nothing can be asked of it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __getattr__(self, name: str) -> NoReturn:
        raise ZeroDivisionError(name)

    def __str__(self) -> NoReturn:
        raise ArithmeticError("no text")

    __repr__ = __str__


KINDS = (FrozenError, SlottedError, SealedError, LockedTracebackError, SilentError)


def fail(kind: type[Exception], code: int) -> NoReturn:
    raise kind(code)


def fail_from(kind: type[Exception], code: int) -> NoReturn:
    """Raise one while another of its kind is handled."""
    try:
        fail(kind, code + 1)
    except kind as error:
        raise kind(code) from error


class FailsToPickle:
    """An argument whose pickling raises such an error."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def __reduce__(self) -> NoReturn:
        fail(self.kind, 5)

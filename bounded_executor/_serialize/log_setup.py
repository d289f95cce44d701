"""The program's configuration of ``logging``, for workers to have it as processes that are forked from it do.

What the top level of the main script configures, an import of it configures in the workers too. This is for
what the program has done since, in ``main()`` for instance. Levels reach the workers, and handlers that write
to a standard stream or append to a file, with their formatters. Any other handler belongs to the process that
made it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Setup", "apply", "capture"]

_STREAMS = ("stdout", "stderr")


class _Recipe(NamedTuple):
    """How to make a handler: for a stream by its name in ``sys``, or for a file by its path."""

    stream: str | None
    path: str | None
    encoding: str | None
    level: int
    formatter: logging.Formatter | None
    filters: list[Any]


class _LoggerSetup(NamedTuple):
    level: int
    propagate: bool
    disabled: bool
    handlers: list[_Recipe]


class Setup(NamedTuple):
    """The configuration of all loggers, by name; the root's is empty."""

    loggers: dict[str, _LoggerSetup]
    disable: int


def capture() -> Setup | None:
    """Return this process's configuration; None where it is as Python leaves it."""
    loggers = {}
    for name, logger in _loggers():
        recipes = [recipe for handler in list(logger.handlers) if (recipe := _recipe(handler)) is not None]
        found = _LoggerSetup(logger.level, logger.propagate, logger.disabled, recipes)
        if found != _LoggerSetup(logging.NOTSET if name else logging.WARNING, True, False, []):
            loggers[name] = found
    disable = logging.root.manager.disable
    return Setup(loggers, disable) if loggers or disable else None


def apply(setup: Setup) -> None:
    """Configure this process in the same way; a logger that has handlers already keeps them."""
    logging.root.manager.disable = setup.disable
    for name, wanted in setup.loggers.items():
        logger = logging.getLogger(name or None)
        if not logger.handlers:
            for recipe in wanted.handlers:
                logger.addHandler(_make(recipe))
        # Not only the attribute: what is enabled is remembered.
        logger.setLevel(wanted.level)
        logger.propagate = wanted.propagate
        logger.disabled = wanted.disabled


def _loggers() -> Iterator[tuple[str, logging.Logger]]:
    yield "", logging.root
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger):
            yield name, logger


def _recipe(handler: logging.Handler) -> _Recipe | None:
    common = handler.level, handler.formatter, list(handler.filters)
    if type(handler) is logging.FileHandler:
        return _Recipe(None, handler.baseFilename, handler.encoding, *common)
    if type(handler) is logging.StreamHandler:
        for name in _STREAMS:
            if handler.stream is getattr(sys, name):
                return _Recipe(name, None, None, *common)
    return None


def _make(recipe: _Recipe) -> logging.Handler:
    handler: logging.Handler
    if recipe.path is not None:
        # What others have written stays.
        handler = logging.FileHandler(recipe.path, "a", recipe.encoding)
    else:
        handler = logging.StreamHandler(getattr(sys, recipe.stream or "stderr"))
    handler.setLevel(recipe.level)
    handler.setFormatter(recipe.formatter)
    for one in recipe.filters:
        handler.addFilter(one)
    return handler

"""Facts about the main script that its source tells: where its guard is, and which names its import binds.

Nothing is executed here. ``_serialize.main_module`` decides with it whether worker processes can import the
script, and ``_serialize.exports`` which of its objects they then have by name.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from types import CodeType

from .main_module import Script

__all__ = ["codes_of", "read"]

_MAIN = "__main__"
# Their names are their own, so that what they bind is no global.
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def read(tree: ast.Module) -> Script:
    """Return what a parsed source tells."""
    guards: list[tuple[int, int]] = []
    bound: set[str] = set()
    rebound: set[str] = set()
    for statement in tree.body:
        guarded, other = _parts_of(statement)
        if guarded:
            guards.append((guarded[0].lineno, guarded[-1].end_lineno or guarded[-1].lineno))
        for part in guarded:
            rebound.update(_names(part))
        for part in other:
            bound.update(_names(part))
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            rebound.update(node.names)
    # An import may bind such a name to another definition than the program has.
    defined = Counter(name for statement in tree.body for name in _definitions(statement))
    rebound.update(name for name, count in defined.items() if count > 1)
    defines = any(isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for one in tree.body)
    return Script(tuple(guards), frozenset(bound), frozenset(rebound), defines)


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all that are defined in it, at any depth."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_of(constant)


def _parts_of(statement: ast.stmt) -> tuple[list[ast.stmt], list[ast.stmt]]:
    """Return the statements that only ``__main__`` runs, and those that an import runs as well."""
    if not isinstance(statement, ast.If):
        return [], [statement]
    if _requires_main(statement.test):
        return statement.body, statement.orelse
    if _excludes_main(statement.test) and statement.orelse:
        return statement.orelse, statement.body
    return [], [statement]


def _requires_main(test: ast.expr) -> bool:
    """Return whether the test can only be true where ``__name__`` is ``"__main__"``."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(_requires_main(value) for value in test.values)
    if isinstance(test, ast.BoolOp):
        return all(_requires_main(value) for value in test.values)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _excludes_main(test.operand)
    if isinstance(test, ast.NamedExpr):
        return _requires_main(test.value)
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.In) and len(test.ops) == 1:
        found = test.comparators[0]
        return (
            _is_name(test.left)
            and isinstance(found, (ast.Tuple, ast.List, ast.Set))
            and all(_is_main(one) for one in found.elts)
        )
    return _compares(test, ast.Eq)


def _excludes_main(test: ast.expr) -> bool:
    """Return whether the test is true wherever ``__name__`` is not ``"__main__"``, and only there."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _compares(test.operand, ast.Eq)
    return _compares(test, ast.NotEq)


def _compares(test: ast.expr, operator: type[ast.cmpop]) -> bool:
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], operator):
        return False
    left, right = test.left, test.comparators[0]
    return (_is_name(left) and _is_main(right)) or (_is_main(left) and _is_name(right))


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "__name__"


def _is_main(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == _MAIN


def _definitions(node: ast.AST) -> Iterator[str]:
    """Yield the names of functions and classes that a statement defines in the namespace that it runs in."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif not isinstance(node, (*_SCOPES, *_COMPREHENSIONS)):
        for inner in ast.iter_child_nodes(node):
            yield from _definitions(inner)


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds in the namespace that it runs in."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name is not None:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest is not None:
        yield node.rest
    if not isinstance(node, (*_SCOPES, *_COMPREHENSIONS)):
        for inner in ast.iter_child_nodes(node):
            yield from _names(inner)

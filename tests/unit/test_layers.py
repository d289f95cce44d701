"""Imports go one way: a layer knows those below it, and the rooms of one layer do not know each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import bounded_executor

PACKAGE = Path(bounded_executor.__file__).parent

# From top to bottom.
LAYERS = [
    {"__init__", "__main__"},
    {"_cli", "metrics"},
    {"_process_pool"},
    {"_executor"},
    {"_map", "_aio"},
    {"_adapters"},
    {"_pool"},
    {"_core", "_worker"},
    {"_future", "_options"},
    {"_unretrieved"},
    {"_serialize", "_ipc", "_memory"},
    {"_log", "_locks", "_flag", "_nameless_files", "_sigterm", "_deferred", "stats", "events", "errors"},
]
LEVELS = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# Where libraries of others are imported.
HOMES = {
    "asyncio": {"_aio"},
    "distributed": {"_adapters.dask"},
    "prometheus_client": {"metrics"},
    "loky": {"_pool.forkserver", "_adapters.loky_engine", "_process_pool"},
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def is_for_types(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports at any depth, but for those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif not (isinstance(node, ast.If) and is_for_types(node)):
            yield from imports(node)


def targets(name: str, node: ast.ImportFrom) -> Iterator[str]:
    """Yield what a relative import imports, as names within the package."""
    package = name.split(".")[: -node.level]
    base = [*package, *(node.module.split(".") if node.module else [])]
    for alias in node.names:
        yield ".".join([*base, alias.name])


def test_every_room_is_in_a_layer() -> None:
    assert {name.split(".")[0] for name, _ in modules()} == set(LEVELS)


def test_imports_go_down() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        for node in imports(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for target in targets(name, node)
        if (room := target.split(".")[0]) != name.split(".")[0]
        and room in LEVELS
        and LEVELS[room] <= LEVELS[name.split(".")[0]]
    ]
    assert wrong == []


def test_libraries_have_their_places() -> None:
    wrong = []
    for name, tree in modules():
        for node in imports(tree):
            if isinstance(node, ast.ImportFrom):
                found = [] if node.level else [node.module or ""]
            else:
                found = [alias.name for alias in node.names]
            for library in found:
                places = HOMES.get(library.split(".")[0])
                if places is not None and not {name, name.split(".")[0]} & places:
                    wrong.append(f"{name} imports {library}")
    assert wrong == []

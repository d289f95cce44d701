"""The pages of messages quote what the package really says, and leave out no log record and no error."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import PACKAGE_ROOT

PAGE = PACKAGE_ROOT / "docs" / "messages.md"
# The command line says what is wrong in one line; those are on its own page.
COMMAND_LINE = PACKAGE_ROOT / "docs" / "howto" / "command-line.md"
SOURCES = PACKAGE_ROOT / "bounded_executor"

pytestmark = pytest.mark.skipif(
    not PAGE.exists(), reason="the documentation is not installed with the package"
)


# Words that others quote; nobody meets them as they are.
WRAPPED = ("it became …",)


def template(node: ast.expr) -> str | None:
    """The text of a string in the sources, with … for all that is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sdr]|%\.\df", "…", node.value).replace("%%", "%")
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "…"
            for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (template(node.left) or "…") + (template(node.right) or "…")
    return None


def quoted() -> list[str]:
    """The messages on the pages, one a line."""
    pages = PAGE.read_text() + COMMAND_LINE.read_text()
    found = re.findall(r"^```text\n(.*?)^```", pages, re.MULTILINE | re.DOTALL)
    return [line for block in found for line in block.splitlines()]


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            yield path, node


def pattern(message: str) -> re.Pattern[str]:
    return re.compile(".*?".join(re.escape(part.strip()) for part in message.split("…")), re.DOTALL)


TEMPLATES = {text for _, node in nodes() if isinstance(node, ast.expr) and (text := template(node))}


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_one_of_the_package(message: str) -> None:
    assert len(re.sub(r"[… ]", "", message)) > 10, "too little of it to be found again"
    wanted = pattern(message)
    assert any(wanted.search(text) for text in TEMPLATES), message


def constants(text: str) -> list[str]:
    return [part.strip() for part in text.split("…") if len(part.strip()) > 2]


def says(call: ast.expr) -> bool:
    """Whether it is a call by which the command line ends or tells of something."""
    return ast.unparse(call) in ("say", "parser.error", "self.exit")


def test_no_line_of_the_command_line_is_left_out() -> None:
    page = "\n".join(quoted())
    left_out = [
        f"{path.name}: {text}"
        for path, node in nodes()
        if isinstance(node, ast.Call) and says(node.func)
        for argument in node.args
        for part in ([argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument])
        if (text := template(part)) is not None and not all(part in page for part in constants(text))
    ]
    assert left_out == []


def test_no_log_record_is_left_out() -> None:
    page = "\n".join(quoted())
    left_out = [
        f"{path.name}: {text}"
        for path, node in nodes()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "_log"
        and (text := template(node.args[0])) is not None
        and not all(part in page for part in constants(text))
    ]
    assert left_out == []


def test_no_raised_message_is_left_out() -> None:
    page = "\n".join(quoted())
    left_out = [
        f"{path.name}: {text}"
        for path, node in nodes()
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and node.exc.args
        and (text := template(node.exc.args[0])) is not None
        and not text.startswith(WRAPPED)
        and not all(part in page for part in constants(text))
    ]
    assert left_out == []

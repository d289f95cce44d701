"""Notebooks, executed by nbclient in a real kernel: each cell sees the newest, and state in workers stays.

A file in ``notebooks/`` has its cells between lines ``# %%``, each with what it prints below ``# prints:``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import side_by_side

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOKS = sorted((side_by_side.HERE / "notebooks").glob("*.py"))
CELL = re.compile(r"^# %%.*\n", re.MULTILINE)
PRINTS = re.compile(r"^# prints:\n((?:#.*\n)*)", re.MULTILINE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_prints_what_its_cells_say(path: Path, tmp_path: Path) -> None:
    cells, expected = [], []
    for text in CELL.split(path.read_text(encoding="utf-8"))[1:]:
        prints = PRINTS.search(text)
        expected.append(re.sub("^# ?", "", prints[1], flags=re.MULTILINE) if prints else "")
        # The kernel's own commands, which are no Python.
        cells.append(re.sub("^# ([%!])", r"\1", PRINTS.sub("", text), flags=re.MULTILINE).strip())
    (tmp_path / "cells.json").write_text(json.dumps(cells))
    places = ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")
    ended = side_by_side.run(
        tmp_path,
        "ours",
        [str(side_by_side.SUPPORT / "execute_notebook.py"), "cells.json"],
        seconds=90,
        **{name: str(tmp_path / "jupyter") for name in places},
    )
    assert ended.status == 0, str(ended)
    found = json.loads(ended.out.splitlines()[-1])
    assert len(found) == len(expected)
    for cell, outputs, wanted in zip(cells, found, expected, strict=True):
        printed = "".join(text for name, text in outputs if name == "stdout")
        other = [text for name, text in outputs if name != "stdout"]
        assert not other, f"in\n{cell}\nthere was\n" + "\n".join(other)
        assert printed == wanted, f"after\n{cell}"

"""Executes a notebook in a kernel and prints what each of its cells has written.

Arguments: a file with the cells, a JSON list of texts.
"""

import json
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main() -> None:
    cells = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True)
    client.execute()
    for cell in notebook.cells:
        for output in cell.outputs:
            if output.output_type == "error":
                output["text"] = "\n".join(output.traceback)
    print(
        json.dumps(
            [
                [[one.get("name", one.output_type), one.get("text", "")] for one in cell.outputs]
                for cell in notebook.cells
            ]
        )
    )


if __name__ == "__main__":
    main()

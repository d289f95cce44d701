"""Scripts with much in them: what the program has built is in memory once for all workers."""

from __future__ import annotations

import json
import os
import select
import stat
from pathlib import Path

import pytest
import tree

import side_by_side

pytestmark = pytest.mark.slow

WORKERS = 8

HEAD = """
import json
import os
import sys
import time

from pool import Executor

with open("runs.txt", "a") as file:
    file.write(__name__ + "\\n")


def build():
    # Many small objects, as programs have them: 200 MB in about a second.
    began = time.monotonic()
    table = {f"key{number:07}": (number, f"value of {number}") for number in range(770_000)}
    time.sleep(max(0, 1 - (time.monotonic() - began)))
    return table


def look(number):
    time.sleep(0.02)
    return os.getpid(), len(TABLE), TABLE[f"key{number * 1000:07}"]


def hold(number):
    found = look(number)
    open(f"started-{number}", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.01)
    return found


def resident():
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024

"""

MAIN = f"""
    with Executor(max_workers={WORKERS}, max_tasks_per_child=2) as executor:
        results = list(executor.map(look, range(64), chunksize=1))
        pids = {{pid for pid, *_ in results}}
        wanted = [[len(TABLE), TABLE[f"key{{number * 1000:07}}"]] for number in range(64)]
        right = [rest for _, *rest in results] == wanted
        held = [executor.submit(hold, number) for number in range({WORKERS})]
        while not all(os.path.exists(f"started-{{number}}") for number in range({WORKERS})):
            time.sleep(0.01)
        print(json.dumps({{"pids": len(pids), "right": right, "table": size}}), flush=True)
        sys.stdin.readline()
        open("go", "w").close()
        assert [future.result()[1:] for future in held] == [tuple(one) for one in wanted[:{WORKERS}]]
"""


def proportional(pid: int) -> int:
    """Return the proportional set size of a process in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no Pss of process {pid}")


def files_in_memory(pids: list[int]) -> int:
    """Return the bytes of files in memory that these processes have open; no set size has them."""
    found = {}
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if "memfd:" in os.readlink(entry):
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        found[status.st_ino] = status.st_blocks * 512
            except OSError:
                continue
    return sum(found.values())


def measure(folder: Path, source: str) -> tuple[dict[str, int], int, int, list[str]]:
    """Run a script; return what it printed, its size, the size of its tree, and which imports there were."""
    (folder / "script.py").write_text(source)
    with side_by_side.start(folder, "ours", ["script.py"]) as process:
        try:
            assert process.stdout is not None
            ready = select.select([process.stdout], [], [], side_by_side.SECONDS)[0]
            line = process.stdout.readline() if ready else ""
            if not line:
                process.kill()
                raise AssertionError(f"nothing was printed; {process.communicate()}")
            below = tree.look(process.pid)
            pids = [process.pid, *below.keepers, *below.supervisors, *below.children]
            # Each of them is in a task, long after the first ones have been replaced.
            assert len(below.children) >= WORKERS, below
            own = proportional(process.pid)
            total = sum(map(proportional, pids)) + files_in_memory(pids)
            out, err = process.communicate("\n", timeout=side_by_side.SECONDS)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, ""), (out, err)
    return json.loads(line), own, total, (folder / "runs.txt").read_text().split()


def test_a_top_level_of_one_second_and_200_mb_is_run_once(tmp_path: Path) -> None:
    source = HEAD + "\nTABLE = build()\n\nif __name__ == '__main__':\n    size = 0" + MAIN
    found, own, total, runs = measure(tmp_path, source)
    assert found["right"]
    assert found["pids"] >= 32
    assert runs == ["__main__", "__mp_main__"]
    assert own > 190e6, own
    assert total < 2.5 * own, f"the tree has {total / 1e6:.0f} MB, the parent {own / 1e6:.0f}"


def test_a_table_of_200_mb_of_the_guarded_block_is_shared(tmp_path: Path) -> None:
    block = "    before = resident()\n    TABLE = build()\n    size = resident() - before"
    source = HEAD + "\nif __name__ == '__main__':\n" + block + MAIN
    found, own, total, runs = measure(tmp_path, source)
    assert found["right"]
    assert found["pids"] >= 32
    assert runs == ["__main__", "__mp_main__"]
    table = found["table"]
    assert table > 190e6, table
    assert total < 3 * table, (
        f"the tree has {total / 1e6:.0f} MB, the table {table / 1e6:.0f}, the parent {own / 1e6:.0f}"
    )

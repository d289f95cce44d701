"""A function goes by its module's name only where that name means the same module elsewhere."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from helpers import run_script

# What is loaded from a file, or made, under a name that `sys.path` has too; and what each is asked.
HEAD = """
    import importlib.util, sys, types
    from pathlib import Path
    from bounded_executor import BoundedProcessPoolExecutor

    here = Path(sys.argv[1])
    sys.path.insert(0, str(here / "on_path"))

    def load(name, file):
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
"""

PLUGIN = """
    import random
    from dataclasses import dataclass

    with open({log!r}, "a") as log:
        log.write({which!r} + "\\n")

    count = 0

    def which():
        return {which!r}

    @dataclass
    class Answer:
        text: str = {which!r}

        def tell(self):
            return f"{{self.text}} of {which}"

    def answer():
        return Answer()

    class Teller:
        def set(self):
            random.told = {which!r}

    teller = Teller()
    set_up = teller.set

    def told():
        return getattr(random, "told", None)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for which in ("on_path", "from_file"):
        (tmp_path / which).mkdir()
        code = textwrap.dedent(PLUGIN).format(which=which, log=str(tmp_path / "log"))
        (tmp_path / which / "plugin.py").write_text(code)
    return tmp_path


def run(folder: Path, body: str) -> list[str]:
    return run_script(textwrap.dedent(HEAD) + textwrap.dedent(body), folder).splitlines()


def imported(folder: Path) -> set[str]:
    return set((folder / "log").read_text().split())


MAKERS = {
    "loaded from a file": 'plugin = load("plugin", here / "from_file" / "plugin.py")',
    "made by the program": """
plugin = sys.modules["plugin"] = types.ModuleType("plugin")
exec(Path(here, "from_file", "plugin.py").read_text(), plugin.__dict__)
""",
    "imported before its folder came second": """
sys.path.insert(0, str(here / "from_file"))
import plugin
sys.path.insert(0, str(here / "on_path"))
""",
    "a second name of a package": """
package = types.ModuleType("package")
package.__path__ = [str(here / "on_path")]
sys.modules["package"] = package
plugin = load("package.plugin", here / "from_file" / "plugin.py")
""",
}


@pytest.mark.parametrize("maker", MAKERS)
def test_the_module_that_the_program_has_is_used(folder: Path, maker: str) -> None:
    body = """
with BoundedProcessPoolExecutor(1) as executor:
    print(executor.submit(plugin.which).result())
    print(*executor.map(plugin.Answer.tell, [plugin.Answer()] * 2))
    answer = executor.submit(plugin.answer).result()
    print(answer.tell(), isinstance(answer, plugin.Answer))
with BoundedProcessPoolExecutor(1, None, plugin.set_up) as executor:
    print(executor.submit(plugin.told).result())
"""
    assert run(folder, MAKERS[maker] + body) == [
        "from_file",
        "from_file of from_file from_file of from_file",
        "from_file of from_file True",
        "from_file",
    ]
    # The other one is executed nowhere, also not to see that it is another.
    assert imported(folder) == {"from_file"}


def test_an_initializer_that_comes_first_is_of_the_module_that_the_program_has(folder: Path) -> None:
    body = """
    plugin = load("plugin", here / "from_file" / "plugin.py")

    def note(answer):
        import random
        random.told = answer.text

    with BoundedProcessPoolExecutor(1, None, note, (plugin.Answer(),)) as executor:
        print(executor.submit(plugin.told).result())
    """
    assert run(folder, body) == ["from_file"]
    assert imported(folder) == {"from_file"}


def test_a_module_that_takes_the_place_of_another_is_looked_for_anew(folder: Path) -> None:
    body = """
    import plugin

    with BoundedProcessPoolExecutor(1) as executor:
        print(executor.submit(plugin.which).result())
        of_path = plugin
        plugin = load("plugin", here / "from_file" / "plugin.py")
        print(executor.submit(plugin.which).result())
        print(executor.submit(of_path.which).result())
        sys.modules["plugin"] = of_path
        print(executor.submit(of_path.which).result())
        print(executor.submit(plugin.which).result())
        answer = executor.submit(of_path.answer).result()
        print(type(answer) is of_path.Answer)
    """
    assert run(folder, body) == ["on_path", "from_file", "on_path", "on_path", "from_file", "True"]


def test_two_modules_of_one_name(folder: Path) -> None:
    """As test runners have it with ``conftest``, and schedulers with folders of programs."""
    body = """
    first = load("plugin", here / "from_file" / "plugin.py")
    second = load("plugin", here / "on_path" / "plugin.py")

    with BoundedProcessPoolExecutor(1) as executor:
        print(executor.submit(first.which).result(), executor.submit(second.which).result())
        print(executor.submit(first.answer).result().tell(), executor.submit(second.answer).result().tell())
    """
    assert run(folder, body) == ["from_file on_path", "from_file of from_file on_path of on_path"]


def test_what_is_found_by_its_name_goes_by_name_whatever_its_path_looks_like(folder: Path) -> None:
    """State stays in a worker's module, as it would not by value."""
    (folder / "link").symlink_to(folder / "on_path")
    (folder / "on_path" / "counting.py").write_text(
        "count = 0\n\ndef counted():\n    global count\n    count += 1\n    return count\n"
    )
    body = """
    sys.path.insert(0, str(here / "link"))
    counting = load("counting", here / "on_path" / "counting.py")

    with BoundedProcessPoolExecutor(1) as executor:
        print(*(executor.submit(counting.counted).result() for _ in range(3)))
    """
    assert run(folder, body) == ["1 2 3"]

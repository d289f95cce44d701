"""How the pages are built: ``tox -e docs``, or ``sphinx-build`` with the group docs."""

import sys
from pathlib import Path

# The reference is that of this checkout.
sys.path.insert(0, str(Path(__file__).parent.parent))

project = "bounded_executor"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["narrow.css"]
html_show_copyright = False
exclude_patterns = ["examples"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
nitpick_ignore_regex = [
    # Of the standard library, whose inventory is not fetched.
    (
        "py:.*",
        r"(concurrent\.futures\..*|asyncio\..*|collections\..*|multiprocessing\..*)",
    ),
    (
        "py:.*",
        r"(BaseException|Exception|TypeError|ValueError|RuntimeError|TimeoutError|OSError|CancelledError|BrokenProcessPool)",
    ),
]

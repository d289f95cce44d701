"""How the pages are built: ``tox -e docs``."""

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
        r"(BaseException|Exception|TypeError|ValueError|RuntimeError|TimeoutError|OSError|BrokenProcessPool)",
    ),
]

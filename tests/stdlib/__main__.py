"""Run the standard library's own tests of its process pool on this package's executor.

    python tests/stdlib [options of unittest, such as -v, -f and -k PATTERN]

The tests are those that this interpreter has installed; where it has none there is nothing to run.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import unittest
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import swap
from exceptions import reason_for, reason_to_skip

TESTS = "test.test_concurrent_futures"
# It has no executor of its own, but runs a test case of the process pool.
MORE = {"FailingInitializerResourcesTest"}


class Missing(unittest.TestCase):
    """Stands for the tests where there are none."""

    def test_not_installed(self) -> None:
        self.skipTest(f"this interpreter is installed without {TESTS}")


def installed() -> bool:
    """Whether this interpreter has the tests; distributions like to leave them out."""
    try:
        return importlib.util.find_spec(TESTS) is not None
    except ModuleNotFoundError:
        return False


def modules() -> list[ModuleType]:
    """Import the tests: they are one module until Python 3.11, and a package after that."""
    tests = importlib.import_module(TESTS)
    path = getattr(tests, "__path__", None)
    if path is None:
        return [tests]
    names = sorted(one.name for one in pkgutil.iter_modules(path) if one.name.startswith("test_"))
    return [importlib.import_module(f"{TESTS}.{name}") for name in names]


def cases(suite: Any) -> Iterator[unittest.TestCase]:
    """Yield the tests in nested suites."""
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from cases(one)
        else:
            yield one


def of_process_pool(case: type) -> bool:
    """Whether a test case is about the process pool, not about that of threads or interpreters."""
    return getattr(case, "executor_type", None) is swap.ProcessPoolExecutor or case.__name__ in MORE


def load_tests(loader: unittest.TestLoader, _tests: unittest.TestSuite, _pattern: str | None) -> Any:
    """Build the suite, for ``unittest.main``; what is expected to fail stands at its end."""
    if not installed():
        return unittest.TestSuite([Missing("test_not_installed")])
    others, expected = unittest.TestSuite(), unittest.TestSuite()
    for module in modules():
        for test in cases(loader.loadTestsFromModule(module)):
            if not of_process_pool(type(test)):
                continue
            if (why := reason_to_skip(test.id())) is not None:
                setattr(test, test.id().rpartition(".")[2], unittest.skip(why)(lambda: None))
            if reason_for(test.id()) is None:
                others.addTest(test)
            else:
                test.__unittest_expecting_failure__ = True
                expected.addTest(test)
    return unittest.TestSuite([others, expected])


def main() -> None:
    """Swap the class and run what the command line says."""
    if not installed():
        unittest.main()
    # Not at the top: where the tests are missing, these may be too.
    import result
    from test import support
    from test.support import script_helper

    swap.install()
    script_helper.run_python_until_end = swap.Scripts(script_helper.run_python_until_end)
    result.watch()
    support.verbose = 0
    unittest.main(testRunner=result.Runner)


if __name__ == "__main__":
    main()

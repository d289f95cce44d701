"""The result of the run: what the tests themselves only warn of, leftovers and errors unseen, fails it."""

from __future__ import annotations

import faulthandler
import gc
import sys
import threading
import unittest
from typing import Any

import swap
from exceptions import may_pass, reason_for
from test import support

# The longest of the tests' own time limits is 300 seconds.
WATCHDOG_SECONDS = 400
PATIENCE_SECONDS = 20


class Result(unittest.TextTestResult):
    """Looks after each test, and at the end, whether something was left or went wrong unseen."""

    def startTest(self, test: unittest.TestCase) -> None:
        _watch()
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        if reason_for(test.id()) is None:
            self._check(test)
        else:
            # It ended half way, and may well have left what it would have ended itself.
            support.environment_altered = False
        super().stopTest(test)
        _end_what_was_left()
        # What follows may be the clean-up of a whole module, which can hang as well.
        _watch()

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        # An error of `setUp` comes here, whatever is expected of the test.
        if reason_for(test.id()) is None:
            super().addError(test, err)
        else:
            self.addExpectedFailure(test, err)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        if may_pass(test.id()):
            self.addSuccess(test)
        else:
            super().addUnexpectedSuccess(test)

    def stopTestRun(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        super().stopTestRun()
        self._check(unittest.FunctionTestCase(self.stopTestRun, description="after the last test"))
        made, scripts = swap.ProcessPoolExecutor.made, swap.Scripts.swapped
        self.stream.writeln(f"\n{made} executors were made here, more in {scripts} scripts; all were ours")

    def _check(self, test: unittest.TestCase) -> None:
        if support.environment_altered:
            support.environment_altered = False
            error = AssertionError("something was left behind or went wrong unseen, see the warnings above")
            self.addFailure(test, (AssertionError, error, None))


def _end_what_was_left() -> None:
    """Let the executor of a test that failed end: it hangs on the traceback, and the next checks on it."""
    gc.collect()
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(PATIENCE_SECONDS)
    # Only now is it that only itself holds the executor.
    gc.collect()


def _watch() -> None:
    faulthandler.dump_traceback_later(WATCHDOG_SECONDS, exit=True, file=sys.__stderr__)


class Runner(unittest.TextTestRunner):
    """Uses :class:`Result`."""

    resultclass = Result


def watch() -> None:
    """Have an exception that ends a thread, or that cannot be raised, noticed by :class:`Result`."""
    for module, name in ((threading, "excepthook"), (sys, "unraisablehook")):
        setattr(module, name, _noticing(getattr(module, name)))


def _noticing(hook: Any) -> Any:
    def notice(args: Any) -> None:
        support.environment_altered = True
        hook(args)

    return notice

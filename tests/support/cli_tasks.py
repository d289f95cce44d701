"""Functions that the tests of the command line name in their arguments."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

not_a_function = 5


def upper(text: str) -> str:
    return text.upper()


def add(a: int = 0, b: int = 0, *rest: int) -> int:
    return a + b + sum(rest)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def fail_on_bad(text: str) -> str:
    if "bad" in text:
        raise ValueError(f"it is {text}")
    return text


def a_set(text: str) -> Any:
    return {text} if text == "set" else text


def die(text: str) -> str:
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return text


def hold(text: str) -> str:
    """Return at once, or, for a folder's name, say there that it has begun and wait for a file."""
    folder = Path(text)
    if len(text) < 1000 and folder.is_dir():
        (folder / f"begun-{os.getpid()}").touch()
        while not (folder / "open").exists():
            time.sleep(0.01)
    return text


def of_all_kinds(text: str) -> Any:
    return a_set(die(hold(text)))


def take_a_nap(seconds: float) -> None:
    time.sleep(seconds)


def length(text: str) -> int:
    return len(text)


class Words:
    @staticmethod
    def count(text: str) -> int:
        return len(text.split())

"""What a reader has to know about the machine and the run."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path

import loky
from contenders import CONTENDERS


def gather(command: str, rounds: int) -> dict[str, str]:
    """Return the facts at the start of a run, by name, in the order in which to show them."""
    facts = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": command,
        "rounds": str(rounds),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "cores this process may use": str(loky.cpu_count()),
        "memory": f"{int((_first('/proc/meminfo', 'MemTotal') or '0 kB').split()[0]) * 1024 / 1e9:.0f} GB",
        "load average at the start": _load(),
    }
    for name in sorted({one.distribution for one in CONTENDERS.values() if one.distribution}):
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            facts[name] = "not installed"
    return facts


def finish(facts: dict[str, str], seconds: float) -> None:
    """Add what is known only at the end."""
    facts["load average at the end"] = _load()
    facts["the whole run took"] = f"{seconds / 60:.0f} minutes"


def _first(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"

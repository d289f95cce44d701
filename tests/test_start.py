"""An executor that cannot start: it is broken, says why, and holds nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import tasks

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, _loky


@pytest.mark.parametrize("started", [0, 1, 2])
def test_threads_cannot_be_had(started: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A warm keeper would need no thread.
    _loky.close_idle()
    start = threading.Thread.start
    left = started

    def start_some(thread: threading.Thread) -> None:
        nonlocal left
        if thread.name.startswith("bounded"):
            if left == 0:
                raise RuntimeError("can't create new thread at interpreter shutdown")
            left -= 1
        start(thread)

    ex = BoundedProcessPoolExecutor(2, idle_timeout=0)
    calls: list[Any] = [lambda: ex.submit(tasks.give, 1), lambda: ex.map(tasks.give, range(3))]
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_some)
        with pytest.raises(BrokenProcessPool, match="could not be started") as caught:
            calls[0]()
    assert type(caught.value.__cause__) is RuntimeError
    for call in calls:
        with pytest.raises(BrokenProcessPool, match="could not be started"):
            call()
    ex.shutdown()

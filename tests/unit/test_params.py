"""Bad input: the error's type, and the parameter and the value in its message."""

from __future__ import annotations

import gc
import multiprocessing
from typing import Any

import pytest
import tasks
from helpers import PATIENCE
from platforms import needs_proc

from bounded_executor import BoundedProcessPoolExecutor
from bounded_executor._memory import proc

NAN = float("nan")

BAD: list[tuple[str, Any, type[Exception], str]] = [
    ("max_workers", 0, ValueError, "max_workers must be greater than 0"),
    ("max_workers", -1, ValueError, "max_workers must be greater than 0"),
    ("max_workers", 1.5, TypeError, "max_workers must be an integer"),
    ("max_workers", True, TypeError, "max_workers must be an integer"),
    ("max_workers", "2", TypeError, "max_workers must be an integer"),
    ("mp_context", 0, TypeError, "mp_context"),
    ("mp_context", -1, TypeError, "mp_context"),
    ("mp_context", 1.5, TypeError, "mp_context"),
    ("mp_context", True, TypeError, "mp_context"),
    ("mp_context", "nonsense", ValueError, "mp_context"),
    ("initializer", 0, TypeError, "initializer must be a callable"),
    ("initializer", -1, TypeError, "initializer must be a callable"),
    ("initializer", 1.5, TypeError, "initializer must be a callable"),
    ("initializer", True, TypeError, "initializer must be a callable"),
    ("initializer", "print", TypeError, "initializer must be a callable"),
    ("initargs", 0, TypeError, "initargs"),
    ("initargs", -1, TypeError, "initargs"),
    ("initargs", 1.5, TypeError, "initargs"),
    ("initargs", True, TypeError, "initargs"),
    ("initargs", "ab", TypeError, "initargs"),
    ("initargs", None, TypeError, "initargs"),
    ("max_tasks_per_child", 0, ValueError, "max_tasks_per_child must be >= 1"),
    ("max_tasks_per_child", -1, ValueError, "max_tasks_per_child must be >= 1"),
    ("max_tasks_per_child", 1.5, TypeError, "max_tasks_per_child must be an integer"),
    ("max_tasks_per_child", True, TypeError, "max_tasks_per_child must be an integer"),
    ("max_tasks_per_child", "2", TypeError, "max_tasks_per_child must be an integer"),
    ("max_tasks_jitter", -1, ValueError, "max_tasks_jitter must be >= 0"),
    ("max_tasks_jitter", 1.5, TypeError, "max_tasks_jitter must be an integer"),
    ("max_tasks_jitter", False, TypeError, "max_tasks_jitter must be an integer"),
    ("max_tasks_jitter", "2", TypeError, "max_tasks_jitter must be an integer"),
    ("max_tasks_jitter", None, TypeError, "max_tasks_jitter must be an integer"),
    ("max_tasks_jitter", 1, ValueError, "max_tasks_per_child"),
    ("queue_size", 0, ValueError, "queue_size must be >= 1"),
    ("queue_size", -1, ValueError, "queue_size must be >= 1"),
    ("queue_size", 1.5, TypeError, "queue_size must be an integer"),
    ("queue_size", True, TypeError, "queue_size must be an integer"),
    ("queue_size", "9", TypeError, "queue_size must be an integer"),
    *[
        case
        for name in ("queue_bytes", "max_memory_per_child", "max_memory_hard", "max_memory_total")
        for case in [
            (name, 0, ValueError, f"{name} must be >= 1"),
            (name, -1, ValueError, f"{name} must be >= 1"),
            (name, 1.5, TypeError, f"{name} must be an integer"),
            (name, True, TypeError, f"{name} must be an integer"),
        ]
    ],
    ("queue_bytes", "9", TypeError, "queue_bytes must be an integer"),
    ("max_memory_per_child", "auto", TypeError, "must be an integer, a number of bytes"),
    ("max_memory_hard", "64MB", TypeError, "must be an integer, a number of bytes"),
    ("max_memory_total", "256MB", TypeError, 'a number of bytes or "auto"'),
    ("preload", "json", TypeError, "preload must be an iterable of module names"),
    ("preload", b"json", TypeError, "preload must be an iterable of module names"),
    ("preload", 1, TypeError, "preload must be an iterable of module names"),
    ("preload", None, TypeError, "preload must be an iterable of module names"),
    ("submit_timeout", -1, ValueError, "submit_timeout must be >= 0"),
    ("submit_timeout", -0.5, ValueError, "submit_timeout must be >= 0"),
    ("submit_timeout", NAN, ValueError, "submit_timeout"),
    ("submit_timeout", True, TypeError, "submit_timeout"),
    ("submit_timeout", "1", TypeError, "submit_timeout"),
    ("task_timeout", 0, ValueError, "task_timeout must be more than 0 seconds"),
    ("task_timeout", -1, ValueError, "task_timeout must be >= 0"),
    ("task_timeout", NAN, ValueError, "task_timeout"),
    ("task_timeout", True, TypeError, "task_timeout must be a number of seconds"),
    ("task_timeout", "1", TypeError, "task_timeout must be a number of seconds"),
    ("stall_warning", 0, ValueError, "stall_warning must be more than 0 seconds"),
    ("stall_warning", -1, ValueError, "stall_warning must be >= 0"),
    ("stall_warning", "1", TypeError, "stall_warning must be a number of seconds"),
    ("task_retries", -1, ValueError, "task_retries must be >= 0"),
    ("task_retries", 1.5, TypeError, "task_retries must be an integer"),
    ("task_retries", True, TypeError, "task_retries must be an integer"),
    ("task_retries", None, TypeError, "task_retries must be an integer"),
    ("on_crash", "explode", ValueError, "on_crash must be 'isolate' or 'break'"),
    ("on_crash", None, TypeError, "on_crash must be 'isolate' or 'break'"),
    ("idle_timeout", -1, ValueError, "idle_timeout must be >= 0"),
    ("idle_timeout", -0.5, ValueError, "idle_timeout must be >= 0"),
    ("idle_timeout", NAN, ValueError, "idle_timeout"),
    ("idle_timeout", True, TypeError, "idle_timeout"),
    ("idle_timeout", "1", TypeError, "idle_timeout"),
    ("idle_timeout", None, TypeError, "idle_timeout"),
]

GOOD: list[dict[str, Any]] = [
    {"max_workers": None},
    {"mp_context": None},
    {"mp_context": "spawn"},
    {"mp_context": "fork"},
    {"mp_context": multiprocessing.get_context("spawn")},
    {"mp_context": multiprocessing.get_context("fork")},
    {"initializer": None},
    {"initializer": tasks.initialize, "initargs": [1, 2]},
    {"max_tasks_per_child": None},
    {"max_tasks_per_child": 1},
    {"max_tasks_jitter": 0},
    {"max_tasks_per_child": 2, "max_tasks_jitter": 3},
    {"queue_size": None},
    {"queue_size": 1},
    {"queue_bytes": None},
    {"queue_bytes": 1},
    pytest.param({"max_memory_per_child": 2**30}, marks=needs_proc),
    pytest.param({"max_memory_hard": 2**30}, marks=needs_proc),
    pytest.param({"max_memory_total": "auto"}, marks=needs_proc),
    pytest.param({"max_memory_total": 1}, marks=needs_proc),
    {"preload": []},
    {"preload": ("json", "email.mime.text")},
    {"submit_timeout": None},
    {"submit_timeout": 0},
    {"submit_timeout": 1e300},
    {"submit_timeout": float("inf")},
    {"idle_timeout": 0},
    {"idle_timeout": 0.5},
]


@pytest.mark.parametrize(("name", "value", "error", "words"), BAD)
def test_bad_values(name: str, value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        BoundedProcessPoolExecutor(**{name: value})
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ((1,), TypeError, "got 1"),
        (("json", None), TypeError, "got None"),
        (("",), ValueError, "got ''"),
        ((".json",), ValueError, "got '.json'"),
        (("json; import os",), ValueError, "got 'json; import os'"),
    ],
)
def test_bad_names_of_modules(value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match="preload must hold") as caught:
        BoundedProcessPoolExecutor(preload=value)
    assert words in str(caught.value)


@pytest.mark.parametrize("keywords", GOOD, ids=str)
def test_good_values(keywords: dict[str, Any]) -> None:
    with BoundedProcessPoolExecutor(**{"max_workers": 1, **keywords}):
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_memory_per_child", 2**30),
        ("max_memory_hard", 2**30),
        ("max_memory_total", 2**30),
        ("max_memory_total", "auto"),
    ],
)
def test_limits_of_memory_are_refused_where_it_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    monkeypatch.setattr(proc, "CAN_MEASURE", False)
    with pytest.raises(ValueError, match=rf"{name} needs the /proc file system of Linux.*{value}"):
        BoundedProcessPoolExecutor(**{name: value})


@pytest.mark.parametrize("method", ["fork", "spawn", "loky"])
def test_tasks_run_whatever_the_start_method(method: str) -> None:
    with BoundedProcessPoolExecutor(1, method, idle_timeout=0) as ex:
        assert ex.submit(tasks.double, 4).result(PATIENCE) == 8


def test_the_first_four_are_positional_as_in_the_standard_library() -> None:
    with BoundedProcessPoolExecutor(1, None, tasks.initialize, (1, 2)) as ex:
        assert ex.submit(tasks.initialized).result(PATIENCE) == ((1, 2), True)


def test_the_others_are_keywords() -> None:
    with pytest.raises(TypeError, match="positional"):
        BoundedProcessPoolExecutor(1, None, None, (), 2)  # type: ignore[misc]


def test_unknown_keywords_are_refused() -> None:
    with pytest.raises(TypeError, match="max_task_per_child"):
        BoundedProcessPoolExecutor(max_task_per_child=2)  # type: ignore[call-arg]


@pytest.mark.parametrize(("workers", "queue_size"), [(1, 512), (85, 512), (86, 516), (200, 1_200)])
def test_the_default_bound(workers: int, queue_size: int) -> None:
    with BoundedProcessPoolExecutor(workers) as ex:
        assert ex.stats().queue_size == queue_size


def test_the_number_of_workers_can_be_read_as_with_the_standard_library() -> None:
    with BoundedProcessPoolExecutor(3) as ex:
        assert ex._max_workers == 3
    with BoundedProcessPoolExecutor() as ex:
        assert ex._max_workers >= 1


def test_an_executor_that_was_never_used_leaves_nothing() -> None:
    executor = BoundedProcessPoolExecutor(1)
    assert executor.stats().children_started == 0
    del executor
    gc.collect()


def test_a_keyword_of_shutdown_is_positional_where_it_is_in_the_standard_library() -> None:
    ex = BoundedProcessPoolExecutor(1)
    ex.shutdown(True)
    with pytest.raises(TypeError):
        ex.shutdown(True, True)  # type: ignore[misc]

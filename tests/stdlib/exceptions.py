"""The tests that are expected to fail, and why. One that passes is reported as an error of this list."""

from __future__ import annotations

from fnmatch import fnmatchcase

# These read or replace what is private to the standard library's class.
WHITE_BOX = {
    "*.test_killed_child": "takes a process out of `_processes`",
    "*.test_saturation": "counts `_processes`",
    "*.test_idle_process_reuse_*": "counts `_processes`",
    "ProcessPoolForkserver*.test_max_tasks_per_child": "counts `_processes`",
    "ProcessPoolSpawn*.test_max_tasks_per_child": "counts `_processes`",
    "*.test_max_tasks_per_child_defaults_to_spawn_context": "reads `_mp_context`",
    "*.test_processes_terminate": "counts and joins `_processes`",
    "ProcessPool*.test_context_manager_shutdown": "joins `_processes`",
    "ProcessPool*.test_del_shutdown": "joins `_processes`, `_executor_manager_thread` and `_call_queue`",
    "ProcessPool*.test_shutdown_no_wait": "joins `_processes`, `_executor_manager_thread` and `_call_queue`",
    "*.test_shutdown_deadlock_pickle": "joins `_executor_manager_thread`",
    "ProcessPool*.test_shutdown_gh_132969_case_*": "joins `_executor_manager_thread`",
    "*.test_shutdown_no_wait_max_tasks_gh119592": "joins `_executor_manager_thread`",
    "*.test_gc_during_max_tasks_worker_exit_gh152967": "joins `_executor_manager_thread`",
    "*.test_force_shutdown_during_max_tasks_worker_exit": "joins `_executor_manager_thread`",
    "*.test_failed_worker_replacement_breaks_pool": "joins `_executor_manager_thread`",
    "*.test_terminate_workers": "replaces `_force_shutdown`",
    "*.test_kill_workers": "replaces `_force_shutdown`",
    "*.test_force_shutdown_workers_invalid_op": "calls `_force_shutdown`",
    "*.test_force_shutdown_workers_stops_pool": "takes a process out of `_processes`",
    "ProcessPool*FailingInitializerTest.test_initializer": (
        "polls `_broken`, and then reads a log record that is not written here"
    ),
    "FailingInitializerResourcesTest.*": "runs the one above, and looks at what that leaves behind",
}

# These concern public behaviour. Each is a difference that the package's documentation promises.
PUBLIC = {
    "ProcessPoolForkProcessPoolExecutorTest.test_max_tasks_per_child": (
        "wants max_tasks_per_child to be refused with the fork start method; here it works"
    ),
    "*.test_e*_at_task_unpickle": "an argument that cannot be unpickled fails its own future only",
    "*.test_*_during_result_unpickle_in_result_handler": (
        "a result that cannot be unpickled fails its own future only"
    ),
    "*.test_traceback_when_child_process_terminates_abruptly": (
        "wants the error to have a cause that says how the process ended; here its own text does"
    ),
    "ProcessPool*.test_cancel_futures": (
        "wants a task to be beyond cancelling before there is a process; here it is when a process has it"
    ),
    "ProcessPoolForkProcessPoolShutdownTest.test_hang_gh83386": (
        "wants nothing on standard error; that fork is taken as the default is logged, once"
    ),
    "ProcessPoolForkProcessPoolShutdownTest.test_interpreter_shutdown": (
        "wants nothing on standard error; that fork is taken as the default is logged, once"
    ),
}

# These would wait without end when they fail, for tasks that wait for an event which nothing sets then.
NOT_RUN = {
    "*.test_broken_process_pool_traceback": "takes a process out of `_processes`",
    "*.test_force_shutdown_workers": "takes a process out of `_processes`",
}

# A process may be there in time, on a slow machine.
DEPENDS_ON_TIME = "ProcessPool*.test_cancel_futures"


def reason_to_skip(test_id: str) -> str | None:
    """Return why a test is not run, None when it is."""
    return next((reason for pattern, reason in NOT_RUN.items() if _matches(test_id, pattern)), None)


def reason_for(test_id: str) -> str | None:
    """Return why a test is expected to fail, None when it is not."""
    for pattern, reason in (WHITE_BOX | PUBLIC).items():
        if _matches(test_id, pattern):
            return reason
    return None


def may_pass(test_id: str) -> bool:
    """Whether a test that is expected to fail may pass all the same."""
    return _matches(test_id, DEPENDS_ON_TIME)


def _matches(test_id: str, pattern: str) -> bool:
    return fnmatchcase(".".join(test_id.split(".")[-2:]), pattern)

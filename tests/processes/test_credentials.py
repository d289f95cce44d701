"""A warm process serves a program only while a new one would have the same rights, limits and priority."""

from __future__ import annotations

import os

import pytest
from helpers import run_script

needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do this"
)

# What a process is told by the kernel about itself, and who its keeper is.
PROGRAM = """
    import ctypes, os, resource, signal
    from multiprocessing import current_process
    from pathlib import Path
    from bounded_executor import BoundedProcessPoolExecutor

    libc = ctypes.CDLL(None, use_errno=True)

    def read(name):
        return Path("/proc", name).read_text()

    def see():
        status = dict(line.split(":", 1) for line in read("thread-self/status").splitlines())
        return {{
            "ids": (os.getresuid(), os.getresgid(), os.getgroups()),
            "bound of capabilities": status["CapBnd"].strip(),
            "no new privileges": status["NoNewPrivs"].strip(),
            "SIGHUP is ignored": signal.getsignal(signal.SIGHUP) == signal.SIG_IGN,
            "host name": os.readlink("/proc/thread-self/ns/uts"),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE),
            "processors": os.sched_getaffinity(0),
            "priority": os.getpriority(os.PRIO_PROCESS, 0),
            "policy": os.sched_getscheduler(0),
            "key": bytes(current_process().authkey),
            "memory killer": read("self/oom_score_adj"),
        }}

    def ancestor(stop):
        pid = os.getpid()
        while True:
            parent = int(read(f"{{pid}}/stat").rpartition(")")[2].split()[1])
            if parent == stop:
                return pid
            pid = parent

    def pool():
        with BoundedProcessPoolExecutor(1) as executor:
            # So that what a second one sees is from the same process.
            return executor.submit(see).result(), executor.submit(ancestor, os.getpid()).result()

    seen, keeper = pool()
    assert seen == see(), (seen, see())
    assert pool() == (seen, keeper)
    {change}
    now = see()
    assert now != seen, "nothing was changed"
    seen, other = pool()
    assert seen == now, (seen, now)
    assert other != keeper
    assert pool() == (seen, other)
    print("the same")
"""

CHANGES = {
    "resource limits": "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))",
    "processors": "os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})",
    "priority": "os.nice(3)",
    "policy": "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
    "ignored signals": "signal.signal(signal.SIGHUP, signal.SIG_IGN)",
    "key of multiprocessing": "current_process().authkey = b'another'",
    "out-of-memory killer": "Path('/proc/self/oom_score_adj').write_text('500')",
    "no new privileges": "assert libc.prctl(38, 1, 0, 0, 0) == 0",
}

CHANGES_OF_ROOT = {
    "groups": "os.setgroups([7, 8])",
    "group": "os.setresgid(65534, 65534, 65534)",
    "capabilities": "assert libc.prctl(24, 25, 0, 0, 0) == 0",
    "namespace": "assert libc.unshare(0x04000000) == 0",
    # It stays able to read the interpreter wherever that is, which other users may not be.
    "user": """
    def capabilities(*bits):
        mask = sum(1 << bit for bit in bits)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        assert libc.capset(header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)) == 0

    assert libc.prctl(8, 1, 0, 0, 0) == 0
    os.setresuid(65534, 65534, 65534)
    capabilities(1, 2, 3)
    for bit in (1, 2, 3):
        assert libc.prctl(47, 2, bit, 0, 0) == 0
    """,
}


def run(change: str, *, quiet: bool = True) -> None:
    assert run_script(PROGRAM.format(change=change.strip()), quiet=quiet) == "the same\n"


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_program_has_changed_its_next_pool_has(change: str) -> None:
    if change == "processors" and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one processor")
    run(CHANGES[change])


@needs_root
@pytest.mark.parametrize("change", CHANGES_OF_ROOT)
def test_what_root_gives_up_its_next_pool_has_not(change: str) -> None:
    # Another user may not remove semaphores that root has made for loky's queues, and loky prints that.
    run(CHANGES_OF_ROOT[change], quiet=change != "user")


@needs_root
def test_a_fork_server_with_rights_that_the_program_gave_up_is_refused() -> None:
    code = """
        import os
        from concurrent.futures.process import BrokenProcessPool
        from bounded_executor import BoundedProcessPoolExecutor

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(1, mp_context="forkserver") as executor:
                assert executor.submit(os.getgroups).result() == os.getgroups()
            os.setgroups([7, 8])
            with BoundedProcessPoolExecutor(1, mp_context="forkserver") as executor:
                try:
                    executor.submit(os.getgroups)
                except BrokenProcessPool as error:
                    print(error)
            with BoundedProcessPoolExecutor(1) as executor:
                print(executor.submit(os.getgroups).result())
        """
    refusal, groups = run_script(code).splitlines()
    assert "was started with other rights" in refusal
    assert groups == "[7, 8]"

"""The pools that are compared."""

from __future__ import annotations

from adapter import Contender
from executors import Deadpool, Loky, LokyReusable, Ours, Standard
from pools import Joblib, Mpire, Pebble, Pool, PoolImap

__all__ = ["CONTENDERS"]

CONTENDERS: dict[str, Contender] = {
    one.name: one
    for one in (
        Ours(
            "ours",
            "`BoundedProcessPoolExecutor` of this project, `submit`, its own bound (`queue_size`), or `map`",
        ),
        Ours(
            "ours-preload",
            'the same with `preload=("heavy_module",)`',
            preload=("heavy_module",),
        ),
        Pool(
            "Pool",
            "`multiprocessing.Pool` of the standard library, forking, `apply_async`, or where all inputs are "
            "given in one call, `imap`",
            "multiprocessing",
        ),
        PoolImap(
            "Pool-imap",
            "the same by `imap` with `chunksize=1`, which has no bound: it takes all inputs at once",
            "multiprocessing",
        ),
        PoolImap(
            "Pool-imap-bound",
            "the same, with inputs that a semaphore holds back until there are results",
            "multiprocessing",
            bounded=True,
        ),
        Standard(
            "ProcessPoolExecutor",
            "`concurrent.futures.ProcessPoolExecutor` of the standard library, `submit` or `map`; it "
            "forks, except where it replaces workers: there it refuses to fork, and spawns, and with tasks "
            "waiting it hangs in releases before the fix of CPython issue 115634",
            "fork",
        ),
        Standard("ProcessPoolExecutor-spawn", "the same, spawning always", "spawn"),
        Pebble("pebble", "`pebble.ProcessPool`, forking, `schedule`", "pebble", "Pebble"),
        Mpire(
            "mpire",
            "`mpire.WorkerPool`, forking, `imap_unordered` with `chunk_size=1` and its own bound "
            "(`max_tasks_active`), or `imap`",
            "mpire",
            "mpire",
        ),
        Pool("billiard", "`billiard.Pool`, forking, `apply_async`", "billiard", "billiard", slow=True),
        Deadpool(
            "deadpool",
            "`deadpool.Deadpool`, forking (as the others do; its default is a fork server), `submit`",
            "deadpool",
            "deadpool-executor",
        ),
        Loky(
            "loky", "`loky.ProcessPoolExecutor`, `submit` or `map`; it cannot replace workers", "loky", "loky"
        ),
        Joblib(
            "joblib",
            '`joblib.Parallel` with `return_as="generator"`, on loky; one at a time: `batch_size=1` and its '
            "own bound (`pre_dispatch`)",
            "joblib",
            "joblib",
        ),
        LokyReusable(
            "loky-reusable",
            "`loky.get_reusable_executor`, called again for each block",
            "loky",
            "loky",
        ),
    )
}

"""The executor class under test, which the environment chooses: a program is the same text for both sides.

``SWAP_EXECUTOR`` is ``stdlib:METHOD`` with a start method of multiprocessing, ``ours``, or ``ours:spawned``
for the way of platforms without a safe fork.
"""

import os

side, _, how = os.environ["SWAP_EXECUTOR"].partition(":")

if side == "stdlib":
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    class Executor(ProcessPoolExecutor):
        """The standard library's, with the start method that the program's head names."""

        def __init__(self, max_workers=None, **options):
            options.setdefault("mp_context", get_context(how))
            super().__init__(max_workers, **options)

else:
    from bounded_executor import BoundedProcessPoolExecutor as Executor

    if how == "spawned":
        from bounded_executor._worker import bootstrap

        bootstrap.CAN_FORK = False

__all__ = ["Executor"]

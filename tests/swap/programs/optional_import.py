# start methods: fork spawn
# slow: others tell more of the same
"""The top tries imports, chooses by platform, and defines by condition."""

import sys

from pool import Executor

try:
    import a_module_that_nobody_has as fast
except ImportError:
    fast = None

if sys.version_info >= (3, 10):

    def pairs(items):
        return list(zip(items, items[1:], strict=False))

else:
    pairs = None

if fast is None:

    class Engine:
        name = "slow"

        def run(self, items):
            return self.name, pairs(items)

else:
    Engine = fast.Engine


engine = Engine()


def work(items):
    return engine.run(items), fast is None


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(executor.submit(work, [1, 2, 3]).result())
        print(executor.submit(engine.run, [4, 5]).result())

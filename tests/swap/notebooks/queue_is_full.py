# %%
import asyncio
import time

from pool import Executor

executor = Executor(max_workers=1, queue_size=2)
most = 0


def wait(seconds):
    time.sleep(seconds)
    return seconds


def fill(count):
    global most
    futures = []
    for _ in range(count):
        futures.append(executor.submit(wait, 0.02))
        most = max(most, executor.stats().unfinished)
    return futures


# %%
for _ in range(6):
    future = executor.submit(wait, 0.02)
    most = max(most, executor.stats().unfinished)
print(future.result(), most)
# prints:
# 0.02 2

# %%
print(fill(6)[-1].result(), most)
# prints:
# 0.02 2

# %%
loop = asyncio.get_running_loop()
print(await asyncio.gather(*(loop.run_in_executor(executor, wait, 0.001 * n) for n in range(2))))
# prints:
# [0.0, 0.001]

# %%
executor.shutdown()

# start methods: fork forkserver
# slow: others tell more of the same
"""Coroutines hand work to the executor with run_in_executor; a task runs an event loop of its own."""

import asyncio

from pool import Executor

finished = []


def crunch(number):
    finished.append(number)
    return sum(range(number)), len(finished)


async def wait_and_double(number):
    await asyncio.sleep(0)
    return number * 2


async def gather(numbers):
    return await asyncio.gather(*map(wait_and_double, numbers))


def run_loop(numbers):
    return asyncio.run(gather(numbers))


async def main():
    loop = asyncio.get_running_loop()
    with Executor(max_workers=1) as executor:
        print(
            await asyncio.gather(*(loop.run_in_executor(executor, crunch, number) for number in (10, 20, 30)))
        )
        print(await loop.run_in_executor(executor, run_loop, [1, 2, 3]))


if __name__ == "__main__":
    asyncio.run(main())

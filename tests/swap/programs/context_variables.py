# start methods: fork forkserver
"""A ContextVar of the script: its default, what a task sets, and contexts that a task makes."""

import asyncio
import contextvars

from pool import Executor

user = contextvars.ContextVar("user", default="nobody")
depth = contextvars.ContextVar("depth")
depth.set(0)


def greet():
    return f"hello {user.get()} at {depth.get()}"


def greet_as(name):
    token = user.set(name)
    try:
        return greet()
    finally:
        user.reset(token)


def greet_in_a_context(name):
    context = contextvars.copy_context()
    context.run(user.set, name)
    return context.run(greet), greet()


def greet_in_tasks(names):
    async def one(name):
        user.set(name)
        await asyncio.sleep(0)
        return greet()

    async def all_of_them():
        return await asyncio.gather(*map(one, names))

    return asyncio.run(all_of_them()), greet()


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(greet).result())
        print(executor.submit(greet_as, "Ann").result(), executor.submit(greet).result())
        print(executor.submit(greet_in_a_context, "Bob").result())
        print(executor.submit(greet_in_tasks, ["Cid", "Dee"]).result())

# only ours: its tasks have to be told of what cannot be sent
# standard error: says so too
"""No guard: a ContextVar cannot be sent, and a task that uses it says so."""

import contextvars

from pool import Executor

user = contextvars.ContextVar("user", default="nobody")


def greet():
    return f"hello {user.get()}"


def work():
    return "works"


executor = Executor(max_workers=1)
error = executor.submit(greet).exception()
print(type(error).__name__, "user" in str(error), "cannot be pickled" in str(error))
print(executor.submit(work).result())
executor.shutdown()

# prints:
# NameError True True
# works

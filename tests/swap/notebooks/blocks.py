# %%
import threading

from pool import Executor

pattern = None
calls = []


def prepare(text):
    global pattern
    pattern = text


def find(text):
    calls.append(text)
    return pattern in text, len(calls)


# %%
with Executor(max_workers=1, initializer=prepare, initargs=("a",)) as executor:
    print(list(executor.map(find, ["cat", "dog", "ant"])))
print(pattern, calls)
# prints:
# [(True, 1), (False, 2), (True, 3)]
# None []

# %%
limits = {"most": 2}


def find(text):
    calls.append(text)
    return text[: limits["most"]], len(calls), pattern


with Executor(max_workers=1, initializer=prepare, initargs=("b",)) as executor:
    print(list(executor.map(find, ["cat", "dog"])))
# prints:
# [('ca', 1, 'b'), ('do', 2, 'b')]

# %%
limits["most"] = 1
calls.append("here")
with Executor(max_workers=2) as executor:
    print(executor.submit(find, "cat").result())
# prints:
# ('c', 2, None)

# %%
# %env SWAP=yes
import os

with Executor(max_workers=1, max_tasks_per_child=2) as executor:
    print([executor.submit(find, "x").result()[1] for _ in range(4)])
    print(executor.submit(os.getenv, "SWAP").result())
# prints:
# env: SWAP=yes
# [2, 3, 2, 3]
# yes

# %%
lock = threading.Lock()


def locked():
    with lock:
        return "held"


with Executor(max_workers=1) as executor:
    try:
        print(executor.submit(locked).result())
    except Exception as error:
        print("lock" in str(error))
    print(executor.submit(find, "cat").result())
# prints:
# True
# ('c', 2, None)

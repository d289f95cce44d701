# %%
from pathlib import Path

from pool import Executor

Path("script.py").write_text('''
from pool import Executor

calls = 0
step = 1


class Mark:
    pass


def count():
    global calls
    calls += step
    return calls, Mark()


if __name__ == "__main__":
    step = 5
    with Executor(max_workers=1) as executor:
        results = [executor.submit(count).result() for _ in range(2)]
    print([number for number, _ in results], all(type(mark) is Mark for _, mark in results))
''') and None

# %%
# %run script.py
# prints:
# [5, 10] True

# %%
with Executor(max_workers=1) as executor:
    number, mark = executor.submit(count).result()
    print(number, type(mark) is Mark, executor.submit(count).result()[0])
# prints:
# 5 True 10

# %%
import script

with Executor(max_workers=1) as executor:
    print([executor.submit(script.count).result()[0] for _ in range(2)])
    print(type(executor.submit(script.count).result()[1]) is script.Mark)
# prints:
# [1, 2]
# True

# %%
from pool import Executor

executor = Executor(max_workers=1)
factor = 2
history = []

# %%
def scale(number):
    history.append(number)
    return number * factor, len(history)


print(executor.submit(scale, 10).result())
# prints:
# (20, 1)

# %%
print(executor.submit(scale, 10).result())
factor = 3
print(executor.submit(scale, 10).result())
# prints:
# (20, 2)
# (30, 3)

# %%
def scale(number):
    return "new", helper(number), len(history)


def helper(number):
    return number + factor


print(executor.submit(scale, 10).result())
# prints:
# ('new', 13, 3)

# %%
def helper(number):
    return number - factor


print(executor.submit(scale, 10).result(), list(executor.map(helper, [1, 2])))
# prints:
# ('new', 7, 3) [-2, -1]

# %%
def set_factor(value):
    global factor
    factor = value


executor.submit(set_factor, 100).result()
print(factor, executor.submit(helper, 0).result())
# prints:
# 3 -100

# %%
factor = 4
print(executor.submit(helper, 0).result())
# prints:
# -4

# %%
history = ["anew"]
print(executor.submit(lambda: history).result())
executor.submit(history.append, "a copy").result()
print(executor.submit(lambda: (history.append("there"), history)[1]).result(), history)
# prints:
# ['anew']
# ['anew', 'there'] ['anew']

# %%
executor.shutdown()

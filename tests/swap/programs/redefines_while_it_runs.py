# only ours: a forked process never sees what is assigned later
"""Without a guard: the newer of two assignments wins, and state that was not assigned anew stays."""

from pool import Executor

factor = 1
history = []
names = {"a": 1}


def scale(number):
    history.append(number)
    return number * factor, len(history)


def set_factor(value):
    global factor
    factor = value


def look():
    return factor, history, names


executor = Executor(max_workers=1)
print(executor.submit(scale, 1).result())
factor = 2
print(executor.submit(scale, 1).result())
executor.submit(set_factor, 7).result()
print(executor.submit(scale, 1).result())
names = {"b": 2}
print(executor.submit(look).result())
factor = 3
print(executor.submit(scale, 1).result())


def scale(number):
    return "new", number * factor, len(history)


print(executor.submit(scale, 1).result())
executor.shutdown()
print("here:", factor, history)

# prints:
# (1, 1)
# (2, 2)
# (7, 3)
# (7, [1, 1, 1], {'b': 2})
# (3, 4)
# ('new', 3, 4)
# here: 3 []

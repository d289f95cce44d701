# run: -i -q
# standard input: itself
# standard error: the prompts
# only ours: a forked process never sees what is entered later
from pool import Executor
import functools
executor = Executor(max_workers=1)
rate = 2
calls = []
def price(amount):
    calls.append(amount)
    return amount * rate, len(calls)

print(executor.submit(price, 10).result())
rate = 3
print(executor.submit(price, 10).result())
def price(amount):
    return "new", amount * rate, calls

print(executor.submit(price, 10).result())
def set_rate(value):
    global rate
    rate = value

executor.submit(set_rate, 50).result()
print(executor.submit(price, 10).result())
rate = 4
print(executor.submit(price, 10).result())
print(executor.submit(functools.partial(price, 1)).result())
executor.shutdown()
exit()

# prints:
# (20, 1)
# (30, 2)
# ('new', 30, [10, 10])
# ('new', 500, [10, 10])
# ('new', 40, [10, 10])
# ('new', 4, [10, 10])

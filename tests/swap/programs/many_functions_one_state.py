# start methods: fork spawn
"""Several functions, methods and the initializer work on the same globals, one after the other."""

from pool import Executor

stack = []
log = {"pushes": 0, "pops": 0}
top = None


def prepare(first):
    global top
    stack.append(first)
    top = first


def push(item):
    global top
    stack.append(item)
    top = item
    log["pushes"] += 1


def pop():
    global top
    item = stack.pop()
    top = stack[-1] if stack else None
    log["pops"] += 1
    return item


class Machine:
    def run(self, program):
        for step in program.split():
            if step == "pop":
                yield pop()
            else:
                push(step)

    def results(self, program):
        return list(self.run(program))


def replace_all(items):
    global stack, log
    stack = list(items)
    log = {**log, "replaced": True}


def state():
    return top, stack, log


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=prepare, initargs=("a",)) as executor:
        executor.submit(push, "b").result()
        print(executor.submit(state).result())
        print(executor.submit(Machine().results, "c d pop pop").result())
        print(executor.submit(pop).result(), executor.submit(state).result())
        executor.submit(replace_all, "xy").result()
        executor.submit(push, "z").result()
        print(executor.submit(state).result())
    print("here:", state())

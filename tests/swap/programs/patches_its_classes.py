# also spawned
"""The guarded block replaces, adds and deletes methods of classes, and sets the state of functions."""

import enum
import functools

from pool import Executor


class Model:
    scale = 1
    gone = "still here"

    def predict(self, x):
        return x * self.scale

    def __repr__(self):
        return "as written"

    @classmethod
    def of_class(cls):
        return cls.scale

    @staticmethod
    def static():
        return "as written"

    @property
    def shown(self):
        return "as written"


class Derived(Model):
    def predict(self, x):
        return super().predict(x) + 1

    def tagged(self):
        return self.tagged.__func__.tag

    tagged.tag = 0


class Operation(enum.Enum):
    ADD = "+"

    def __init__(self, sign):
        self.weight = 0


def patched(self, x):
    return -x


def use(x):
    model = Model()
    return (
        model.predict(x),
        Derived().predict(x),
        repr(model),
        model.of_class(),
        model.static(),
        model.shown,
        hasattr(model, "gone"),
        hasattr(model, "added") and model.added(),
        Derived().tagged(),
        Operation.ADD.weight,
    )


def level():
    return level.level


level.level = 0


def collected(found=[]):
    return found


def keyword(*, limit=None):
    return limit


def counter():
    count = 0

    def increment():
        nonlocal count
        count += 1
        return count

    return increment


increment = counter()


def prefixed(function):
    prefix = {"value": "a"}

    @functools.wraps(function)
    def wrapper():
        return prefix["value"], function()

    wrapper.prefix = prefix
    return wrapper


@prefixed
def decorated():
    return "result"


@functools.singledispatch
def kind(value):
    return "object"


def state():
    return level(), list(collected()), keyword(), increment(), decorated(), kind("a"), kind(1)


def replaced():
    return "as written"


HOOK = None


def hooked(x):
    return HOOK(x)


def main():
    global HOOK
    with Executor(max_workers=1) as executor:
        print(executor.submit(use, 3).result())
        print(executor.submit(state).result())
    Model.predict = patched
    Model.__repr__ = lambda self: "patched"
    Model.static = staticmethod(lambda: "patched")
    Model.shown = property(lambda self: "patched")
    Model.added = lambda self: "added"
    Model.scale = 2
    del Model.gone
    Derived.tagged.tag = 4
    Operation.ADD.weight = 5
    level.level = 3
    collected().append(5)
    keyword.__kwdefaults__["limit"] = 6
    increment()
    increment()
    decorated.prefix["value"] = "b"
    kind.register(str, lambda value: "text")
    replaced.__code__ = (lambda: "patched").__code__
    HOOK = Model().predict
    with Executor(max_workers=1) as executor:
        print(executor.submit(use, 3).result())
        print(executor.submit(state).result())
        print(executor.submit(state).result()[3])
        print(executor.submit(replaced).result())
        print(executor.submit(hooked, 4).result())


if __name__ == "__main__":
    main()

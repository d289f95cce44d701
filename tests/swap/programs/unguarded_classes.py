"""No guard: singledispatch, cached_property, and objects that a task pickles and reads again."""

import pickle
from functools import cached_property, singledispatch

from pool import Executor


class Animal:
    def __init__(self, name):
        self.name = name

    @cached_property
    def title(self):
        return self.name.title()


class Dog(Animal):
    pass


@singledispatch
def describe(value):
    return f"something: {value!r}"


@describe.register
def _(value: Animal):
    return f"an animal: {value.title}"


@describe.register
def _(value: Dog):
    return f"a dog: {value.title}"


def through_pickle(animal):
    again = pickle.loads(pickle.dumps(animal))
    return type(again) is Dog, isinstance(again, Animal), describe(again), "title" in vars(again)


def make(name):
    return Dog(name)


executor = Executor(max_workers=1)
print(list(executor.map(describe, [Animal("cat"), Dog("rex"), 3])))
print(executor.submit(through_pickle, Dog("rex")).result())
dog = executor.submit(make, "fido").result()
print(type(dog) is Dog, isinstance(dog, Animal), describe(dog))
executor.shutdown()

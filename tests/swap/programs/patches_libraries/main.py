# run: main.py
# start methods: fork spawn
"""The top patches libraries; tasks see it in functions of the script and in those of the library."""

import json

import helper
from pool import Executor

plain_dumps = json.dumps


def sorted_dumps(value, **options):
    return plain_dumps(value, sort_keys=True, **options)


def shout(value):
    return {key.upper(): item for key, item in value.items()}


json.dumps = sorted_dumps
helper.SETTING = "patched"
helper.HOOKS.append(shout)


def dump(value):
    return json.dumps(value)


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(executor.submit(dump, {"b": 1, "a": 2}).result())
        print(executor.submit(helper.use, {"b": 1, "a": 2}).result())
        print(list(executor.map(helper.use, [{"d": 1, "c": 2}] * 3)))

"""A library that programs configure by setting its attributes."""

import json

SETTING = "default"
HOOKS = []


def use(value):
    for hook in HOOKS:
        value = hook(value)
    return f"{SETTING}: {json.dumps(value)}"

"""Settings that modules share by importing the objects."""

ACTIVE = {"mode": "plain"}
LISTENERS = []


def activate(mode):
    ACTIVE["mode"] = mode


def mode():
    return ACTIVE["mode"]


def tell(text):
    return [listener(text) for listener in LISTENERS]

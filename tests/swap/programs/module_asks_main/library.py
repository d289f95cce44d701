"""A library that reads settings of the program it is used in."""


def setting(name):
    import __main__

    return getattr(__main__, name, "not set")


def greet(name):
    from __main__ import GREETING

    return f"{GREETING}, {name}"

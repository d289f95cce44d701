"""A module beside the script."""

FACTOR = 3


def times(number):
    return number * FACTOR

"""Lines of the report."""


def line(number):
    return f"line {number}"

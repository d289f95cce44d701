"""A module in a folder that only the script puts on the path."""

names = {"r": "red", "b": "blue"}


def name(letter):
    return names[letter]

# only ours: a parameter of ours
"""import_main=False: the script is not imported, and state in one namespace stays all the same."""

from pool import Executor

with open("imports.txt", "a") as file:
    file.write(f"{__name__}\n")

calls = []
unit = "m"


def count(item):
    calls.append(item)
    return len(calls), unit


if __name__ == "__main__":
    unit = "km"
    with Executor(max_workers=1, import_main=False) as executor:
        print([executor.submit(count, item).result() for item in "abc"])
    print(open("imports.txt").read().split())

# prints:
# [(1, 'km'), (2, 'km'), (3, 'km')]
# ['__main__']

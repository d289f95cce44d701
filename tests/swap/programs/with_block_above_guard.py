"""There is a guard, but the executor is used above it: what is there runs once."""

from pool import Executor

with open("runs.txt", "a") as file:
    file.write(f"{__name__}\n")

calls = []


def square(number):
    calls.append(number)
    return number * number, len(calls)


with Executor(max_workers=1) as executor:
    results = [executor.submit(square, number).result() for number in range(3)]

if __name__ == "__main__":
    print(results, calls, open("runs.txt").read().split())

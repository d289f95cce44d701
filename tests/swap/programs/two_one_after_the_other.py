"""Two executors one after the other; between them the main process changes globals."""

from pool import Executor

stage = "first"
found = []
LIMITS = {"most": 1}


class Machine:
    speed = 1


def scan(number):
    found.append(number)
    return stage, len(found), LIMITS["most"], sorted(found)


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        for number in (1, 2):
            print(executor.submit(scan, number).result())
        found_there = executor.submit(scan, 3).result()[-1]
    print("here:", stage, found)
    stage = "second"
    found.extend(found_there)
    LIMITS["most"] = 9
    with Executor(max_workers=1) as executor:
        for number in (4, 5):
            print(executor.submit(scan, number).result())
    print("here:", stage, found)

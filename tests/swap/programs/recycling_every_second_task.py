# start methods: forkserver
# only ours before 3.11: no max_tasks_per_child there
"""Each process runs two tasks; what the first leaves in globals, the second finds."""

from functools import lru_cache

from pool import Executor

seen = []


@lru_cache
def square(number):
    return number * number


class Job:
    run_count = 0

    def __init__(self, number):
        self.number = number

    def run(self):
        Job.run_count += 1
        seen.append(self.number)
        square(2)
        return list(seen), Job.run_count, square.cache_info().hits


if __name__ == "__main__":
    with Executor(max_workers=1, max_tasks_per_child=2) as executor:
        for number in range(6):
            print(executor.submit(Job(number).run).result())

# prints:
# ([0], 1, 0)
# ([0, 1], 2, 1)
# ([2], 1, 0)
# ([2, 3], 2, 1)
# ([4], 1, 0)
# ([4, 5], 2, 1)

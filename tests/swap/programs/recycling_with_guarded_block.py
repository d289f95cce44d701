# only ours: the standard library replaces no forked processes, and others do not see the guarded block
"""What the guarded block has set is there in replaced processes too, as it was before."""

from pool import Executor

TABLE = []
limit = None


def look(number):
    TABLE.append(number)
    return len(TABLE), limit


if __name__ == "__main__":
    TABLE.extend("abc")
    limit = 7
    with Executor(max_workers=1, max_tasks_per_child=2) as executor:
        print([executor.submit(look, number).result() for number in range(6)])

# prints:
# [(4, 7), (5, 7), (4, 7), (5, 7), (4, 7), (5, 7)]

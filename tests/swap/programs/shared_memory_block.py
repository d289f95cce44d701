# start methods: fork spawn
# slow: others tell more of the same
"""Tasks write into a shared memory block, which they find by its name."""

from multiprocessing.shared_memory import SharedMemory

from pool import Executor

attached = {}


def attach(name):
    if name not in attached:
        attached[name] = SharedMemory(name)
    return attached[name]


def write(name, position, value):
    attach(name).buf[position] = value
    return len(attached)


def main():
    block = SharedMemory(create=True, size=64)
    try:
        with Executor(max_workers=1) as executor:
            print(list(executor.map(write, [block.name] * 5, range(5), b"hello")))
        print(bytes(block.buf[:5]))
    finally:
        block.close()
        block.unlink()


if __name__ == "__main__":
    main()

# slow: others tell more of the same
"""The top sets environment variables, the time zone, the folder and the mask of new files."""

import os
import time
from pathlib import Path

from pool import Executor

os.environ["SERVICE"] = "test"
os.environ["TZ"] = "XYZ-3"
time.tzset()
os.makedirs("work", exist_ok=True)
os.chdir(Path(__file__).parent / "work")
os.umask(0o077)


def facts(number):
    Path(f"{number}.txt").write_text("x")
    mode = os.stat(f"{number}.txt").st_mode & 0o777
    return os.environ["SERVICE"], time.localtime(0).tm_hour, Path.cwd().name, oct(mode)


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        for line in executor.map(facts, range(3)):
            print(line)
    print(sorted(os.listdir()))

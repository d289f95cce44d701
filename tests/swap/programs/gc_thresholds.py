# start methods: fork spawn
"""The top sets the collector, the switch interval, the time-out of sockets and the display of errors."""

import faulthandler
import gc
import resource
import socket
import sys

from pool import Executor

gc.set_threshold(7_000, 30, 20)
gc.disable()
sys.setswitchinterval(0.02)
socket.setdefaulttimeout(2.5)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
faulthandler.enable()


def settings():
    return {
        "gc": (gc.get_threshold()[:2], gc.isenabled()),
        "switch": round(sys.getswitchinterval(), 3),
        "socket": socket.getdefaulttimeout(),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "faulthandler": faulthandler.is_enabled(),
    }


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        there = executor.submit(settings).result()
    print(there)
    print("as here:", there == settings())

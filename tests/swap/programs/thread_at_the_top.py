# start methods: spawn
"""The top starts a thread that does what tasks ask for; each process has its own."""

import queue
import threading

from pool import Executor

requests = queue.Queue()
served = []


def serve():
    while True:
        number, reply = requests.get()
        served.append(number)
        reply.put((number * number, len(served)))


threading.Thread(target=serve, name="server", daemon=True).start()


class Answer:
    def __init__(self, value):
        self.value = value


def ask(number):
    reply = queue.Queue()
    requests.put((number, reply))
    return Answer(reply.get(timeout=20)), [
        thread.name for thread in threading.enumerate() if thread.name == "server"
    ]


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        for number in range(3):
            answer, threads = executor.submit(ask, number).result()
            print(type(answer) is Answer, answer.value, threads)
    print("here:", served)

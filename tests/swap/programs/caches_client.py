# start methods: fork spawn
# slow: others tell more of the same
"""Tasks share one client per process, made at the first use."""

from pool import Executor


class Client:
    made = 0

    def __init__(self, address):
        Client.made += 1
        self.address = address
        self.requests = []

    def get(self, path):
        self.requests.append(path)
        return f"{self.address}{path} (request {len(self.requests)} of client {Client.made})"


_client = None


def client():
    global _client
    if _client is None:
        _client = Client("http://localhost")
    return _client


def fetch(path):
    return client().get(path)


def history():
    return client().requests


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        for page in executor.map(fetch, ["/a", "/b", "/c"]):
            print(page)
        print(executor.submit(history).result())

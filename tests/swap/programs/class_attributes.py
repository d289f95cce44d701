# start methods: fork forkserver
# slow: others tell more of the same
"""Objects that travel as arguments and results change attributes of their class in the worker."""

from pool import Executor


class Account:
    bank = "none"
    opened = 0
    ledger = {}

    def __init__(self, owner):
        self.owner = owner

    @classmethod
    def open(cls, owner):
        cls.opened += 1
        cls.ledger[owner] = 0
        return cls(owner)

    def deposit(self, amount):
        self.ledger[self.owner] = self.ledger.get(self.owner, 0) + amount
        return self.ledger[self.owner]


def rename(bank):
    Account.bank = bank


def describe(account):
    return account.owner, account.bank, Account.opened, sorted(account.ledger.items())


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        executor.submit(rename, "First").result()
        ann = executor.submit(Account.open, "ann").result()
        bob = executor.submit(Account.open, "bob").result()
        print(executor.submit(ann.deposit, 5).result())
        print(executor.submit(ann.deposit, 6).result())
        print(executor.submit(bob.deposit, 7).result())
        print(executor.submit(describe, ann).result())
        print(type(ann) is Account, ann.bank, Account.opened, Account.ledger)

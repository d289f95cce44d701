"""A package; the program is one of its modules."""

CURRENCY = "EUR"

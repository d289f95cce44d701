"""The parent's side of its worker processes. One thread owns all of it."""

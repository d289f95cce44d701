# run: driver.py
"""Runs a script with runpy.run_path and a module with runpy.run_module, both as the main module."""

import runpy
import sys

if __name__ == "__main__":
    sys.argv = ["inner.py", "by path"]
    result = runpy.run_path("inner.py", run_name="__main__")
    print(result["total"])
    sys.argv = ["inner.py", "by module"]
    result = runpy.run_module("inner", run_name="__main__", alter_sys=True)
    print(result["total"])

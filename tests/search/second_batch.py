"""A program that is killed in the middle of `me5 index`."""

# `me5 index` with the arguments that follow; ends at once when the second batch is in the store.
KILLED = """
import os, signal, sys
from me5.cli import main
from me5.search.store import Store
add, added = Store.add, []
def counted(self, rows, vectors):
    count = add(self, rows, vectors)
    added.append(count)
    if len(added) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return count
Store.add = counted
sys.argv[:1] = ["me5", "index"]
main()
"""

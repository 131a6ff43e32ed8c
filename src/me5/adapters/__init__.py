"""me5 under the interfaces of other libraries: one file each, importing its own.

`metadata` reads their filters, and `stored` makes documents of a store's passages, where an adapter is a store.
"""

"""Files in, files out: texts from a file of any size, vectors into another, a block at a time.

`source` says where texts are and how to read them, `read` makes records (id, text) of them, `write` puts records and
vectors into a file that appears whole or not at all, and `job` joins both ends around an Embedder.
"""

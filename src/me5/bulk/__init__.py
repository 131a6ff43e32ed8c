"""Files in, files out: texts from files of any size, vectors into others, a block at a time.

One file (`me5 embed`):

    source      where texts are and how to read them
    read        records (id, text) of a source
    write       records and vectors into a file that appears whole or not at all
    table       records and vectors as Arrow tables
    one_file    both ends joined around an Embedder

Any number of files (`me5 bulk`), as a job in a folder that is resumed where it was killed:

    inputs      files, folders and globs → a list of files
    plan        files → parts of about as many texts each
    model, manifest, job    what a job does, recorded once
    folders     where it lies: in a file system or an object store
    embedding   records → vectors; equal texts once, a bad text costs itself
    part, commit            one attempt at a part; the first that is committed counts
    dataset     parts as one Lance dataset
    worker, dispatch        attempts one after another; which worker does what next
    processes   workers as processes of this machine
    cluster     workers on a Ray cluster
    ray         the same embedding for pipelines of Ray Data
    driver, finish          all of it, from the inputs to the last file
    status      how far a job is, from its commits
    estimate    what a job would take, before it starts
"""

from me5.bulk.driver import Result, Shard, resume, run
from me5.bulk.model import Model

__all__ = ["Model", "Result", "Shard", "resume", "run"]

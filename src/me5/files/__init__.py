"""Files of texts: lines and records with their places, the same rules for every command (docs/files.md).

atomic        a file or folder that is written whole or not at all
place         where something stands in a file, and errors that name it
compression   .gz, .zst and .bz2 as plain bytes
objects       objects in a store (S3, …) as files
lines         bytes -> lines of text: encodings, line ends, limits
csv           lines -> records of CSV
records       JSONL, CSV, TSV and Parquet -> records: a place, and values by column
parquet       Parquet -> rows, in batches of bounded size
retrieval     the parts of a retrieval collection: queries, passages, judgements
beir, trec    which files of a folder are these parts: BEIR; MIRACL, Mr.TyDi and their kin
"""

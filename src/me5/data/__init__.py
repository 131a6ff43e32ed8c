"""Everything that makes training examples: datasets as folders of Parquet files, and the steps from one to the next."""

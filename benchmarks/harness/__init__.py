"""What encode.py is made of: the engines, the texts, the processes that run them and the report."""

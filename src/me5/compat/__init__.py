"""`from me5.compat import SentenceTransformer, util`: scripts written for sentence-transformers, run by me5's engines.

`model` is the class, `settings` reads what its constructor is given, `scores` compares vectors, `tensors` knows torch
where it is installed, and `util` has the functions that scripts use beside the class.
"""

from me5.compat import util
from me5.compat.model import SentenceTransformer
from me5.compat.scores import SimilarityFunction

__all__ = ["SentenceTransformer", "SimilarityFunction", "util"]

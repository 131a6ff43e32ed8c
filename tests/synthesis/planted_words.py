"""A judge that counts common words."""

import zlib

import numpy as np


class CommonWords:
    """A teacher to whom texts are as alike as their sets of words."""

    name, version = "words", "words-1"

    def embed_queries(self, queries, advance=None):
        return self._embed([query.text for query in queries])

    def embed_documents(self, documents, advance=None):
        return self._embed([document.whole for document in documents])

    def _embed(self, texts):
        vectors = np.full((len(texts), 512), 1e-6, np.float32)
        for row, text in enumerate(texts):
            for word in set(text.lower().replace(",", " ").replace(".", " ").split()):
                vectors[row, zlib.crc32(word.encode()) % 512] = 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

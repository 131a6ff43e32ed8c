"""Ask a running `me5 serve` with Cohere's library: `input_type` says which side the texts are on.

pip install cohere
me5 serve &
python examples/clients/python_cohere.py
"""

import os

import cohere
import numpy as np

QUERIES = ["how tall is K2?", "南瓜的家常做法"]
DOCUMENTS = [
    "清炒南瓜丝:嫩南瓜半个切成细丝,锅烧热放油,入葱花煸出香味。",
    "K2 rises to 8,611 metres.",
    "Bake for an hour.",
]

client = cohere.ClientV2(
    base_url=os.environ.get("ME5_URL", "http://127.0.0.1:8080"),
    api_key=os.environ.get("ME5_API_KEY", "none needed"),
)


def embed(input_type: str, texts: list[str]) -> np.ndarray:
    reply = client.embed(model="me5-small", input_type=input_type, texts=texts, embedding_types=["float"])
    return np.array(reply.embeddings.float_, np.float32)


queries = embed("search_query", QUERIES)
documents = embed("search_document", DOCUMENTS)

for query, row in zip(QUERIES, queries @ documents.T * 100, strict=True):
    print(f"{query}  →  {DOCUMENTS[row.argmax()]}  ({row.max():.1f})")

"""Ask a running `me5 serve` with me5's own client: the methods of Embedder, over HTTP.

me5 serve &
python examples/clients/python_me5.py
"""

import os

from me5 import Client

QUERIES = ["how tall is K2?", "南瓜的家常做法"]
DOCUMENTS = [
    "清炒南瓜丝:嫩南瓜半个切成细丝,锅烧热放油,入葱花煸出香味。",
    "K2 rises to 8,611 metres.",
    "Bake for an hour.",
]

with Client(os.environ.get("ME5_URL", "http://127.0.0.1:8080")) as client:
    queries = client.encode_query(QUERIES)
    documents = client.encode_document(DOCUMENTS)

scores = client.similarity(queries, documents) * 100
for query, row in zip(QUERIES, scores, strict=True):
    print(f"{query}  →  {DOCUMENTS[row.argmax()]}  ({row.max():.1f})")

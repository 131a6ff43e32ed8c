"""Ask a running `me5 serve` with OpenAI's library: the end of the model's name says which side the texts are on.

pip install openai
me5 serve &
python examples/clients/python_openai.py
"""

import os

import numpy as np
from openai import OpenAI

QUERIES = ["how tall is K2?", "南瓜的家常做法"]
DOCUMENTS = [
    "清炒南瓜丝:嫩南瓜半个切成细丝,锅烧热放油,入葱花煸出香味。",
    "K2 rises to 8,611 metres.",
    "Bake for an hour.",
]

client = OpenAI(
    base_url=os.environ.get("ME5_URL", "http://127.0.0.1:8080") + "/v1",
    api_key=os.environ.get("ME5_API_KEY", "none needed"),
)


def embed(model: str, texts: list[str], **options: str) -> np.ndarray:
    reply = client.embeddings.create(model=model, input=texts, extra_body=options)
    return np.array([item.embedding for item in reply.data], np.float32)


queries = embed("me5-small:query", QUERIES)
# The same as embed("me5-small:document", DOCUMENTS), for programs that choose the side per call.
documents = embed("me5-small", DOCUMENTS, side="document")

for query, row in zip(QUERIES, queries @ documents.T * 100, strict=True):
    print(f"{query}  →  {DOCUMENTS[row.argmax()]}  ({row.max():.1f})")

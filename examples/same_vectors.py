"""The same folder, three libraries, the same vectors: me5, sentence-transformers, transformers.

    pip install sentence-transformers
    python examples/same_vectors.py [FOLDER or hub id]

The point to see: with the other two, writing the prompt is up to you. me5 does it for you. The bundled model is a GGUF
file, which the others read after `me5 export me5-small --to FOLDER`, done here.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from me5 import Embedder
from me5.export import export

TEXTS = ["how much protein should a female eat", "南瓜的家常做法"]


def main() -> None:
    embedder = Embedder.load(sys.argv[1] if len(sys.argv) > 1 else None, precision="f32")
    with tempfile.TemporaryDirectory() as scratch:
        folder = embedder.checkpoint.path
        if folder.is_file():
            folder = Path(scratch) / "model"
            export(embedder.checkpoint, folder)
        compare(embedder, str(folder))


def compare(embedder: Embedder, folder: str) -> None:
    prompt = embedder.prompts.prefix("query")
    ours = embedder.encode_query(TEXTS)

    sentence_transformer = SentenceTransformer(folder, device="cpu")
    theirs = sentence_transformer.encode(TEXTS, prompt=prompt, normalize_embeddings=True)

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    prompted = [prompt + text for text in TEXTS]
    batch = tokenizer(prompted, padding=True, truncation=True, max_length=512, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    plain = torch.nn.functional.normalize(mean, dim=1).numpy()

    for name, vectors in (("sentence-transformers", theirs), ("transformers", plain)):
        print(f"me5 and {name}: largest difference {np.abs(ours - vectors).max():.1e}")


if __name__ == "__main__":
    main()

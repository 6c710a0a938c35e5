"""Texts as the vectors that a sentence transformer gives them.

Reimers & Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks", EMNLP 2019,
arXiv:1908.10084.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from isthmus import files
from isthmus.dataset import Dataset, Location
from isthmus.domain import Domain
from isthmus.errors import BadInput, ProviderUnavailable, importing
from isthmus.kept import KeptVectors, digest_of, kept_folder
from isthmus_datasets.columns import OPTIONS, domain_of, known_columns
from isthmus_datasets.parquet import read_columns

CHUNK = 256  # texts embedded at once, and kept in one transaction
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


class Text(Dataset):
    """``text:FILE.csv#column=REVIEW&label=STARS``: a table with one row of features per text.

    The vectors of a text are kept (see ``kept_folder``) and computed once for each model. What is
    trained and exported reads vectors: whoever serves it embeds with the same model.
    """

    scheme: ClassVar[str] = "text"
    summary: ClassVar[str] = "texts in a csv or Parquet file, embedded by a model (extra: text)"
    options: ClassVar[dict[str, str]] = {
        "column": "the column of texts",
        "model": f"a folder, or a name on the Hugging Face hub (default: {MODEL})",
        **{k: v for k, v in OPTIONS.items() if k != "drop"},
    }

    def load(self, location: Location) -> Domain:
        self.check(location)
        path = location.find()
        cells = None
        if path.suffix == ".parquet":
            columns = read_columns(path)
        else:
            cells = files.read_cells(path)
            columns = files.numbered(cells)
        if len(found := known_columns(path.stem, columns, location, "column")) != 1:
            raise BadInput(f"{path.stem}: one column of texts is needed", hint="add column=NAME")
        texts = columns[found[0]]
        if texts.dtype != files.TEXT:
            raise BadInput(f"{path.stem}: column {found[0]!r} holds numbers, expected texts")
        x = embed([str(t) for t in texts], location.options.get("model", MODEL))
        return domain_of(path.stem, columns, location, x, cells)


def embed(texts: list[str], name: str) -> NDArray[np.float32]:
    """Return the vectors (n, d) of texts under the model of that name or folder."""
    model = _model(name)
    out = np.empty((len(texts), model.get_embedding_dimension()), np.float32)
    digests = [hashlib.blake2b(t.encode(), digest_size=8).digest() for t in texts]
    keys = np.frombuffer(b"".join(digests), "<i8")

    def vectors(at: NDArray[np.int64]) -> Any:
        return model.encode([texts[i] for i in at], show_progress_bar=False)

    kept = KeptVectors(lambda sentence: None)
    if folder := kept_folder():
        kept.open(folder / "texts" / f"{_digest(model)}.sqlite")
    try:
        for _ in kept.fill(keys, out, CHUNK, vectors):
            pass
    finally:
        kept.close()
    return out


def _model(name: str) -> Any:
    with importing("text", "embedding texts needs sentence-transformers, which is not installed"):
        from sentence_transformers import SentenceTransformer
    folder = Path(name).expanduser()
    try:
        return SentenceTransformer(str(folder) if folder.is_dir() else name)
    except (OSError, ValueError) as error:
        raise ProviderUnavailable(
            f"the model {name!r} could not be loaded ({str(error).splitlines()[0]})",
            hint="fetch its folder elsewhere and add model=FOLDER",
        ) from error


def _digest(model: Any) -> str:
    """Return what fixes the vectors of given texts: weights, vocabulary and length."""
    said = repr((model, sorted(model.tokenizer.get_vocab().items())))
    return digest_of(said, sorted(model.state_dict().items()))

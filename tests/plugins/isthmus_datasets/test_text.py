"""Texts become vectors of a sentence transformer, once for each text and model."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from isthmus import BadInput, Labelled, Run, Task
from isthmus.errors import ProviderUnavailable
from isthmus.learners import Logistic
from isthmus_baselines.source_only import SourceOnly

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the book film is was very good bad".split()
REVIEWS = """review,stars
the book is good,2
a bad film,1
the film was very good,2
the book was bad,1
the book is good,2
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the folder of a sentence transformer that is small, random and of these words."""
    folder = tmp_path_factory.mktemp("model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library itself
        from sentence_transformers import SentenceTransformer
        from transformers import BertConfig, BertModel, BertTokenizerFast

        (folder / "vocab.txt").write_text("\n".join(WORDS))
        torch.manual_seed(0)
        size = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        net = BertModel(BertConfig(vocab_size=len(WORDS), hidden_size=8, **size))
        net.save_pretrained(folder / "bert")
        BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
        SentenceTransformer(str(folder / "bert"), device="cpu").save(str(folder / "whole"))
    return folder / "whole"


@pytest.fixture
def texts(tmp_path, load, model, monkeypatch):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def texts(options="column=review&label=stars", text=REVIEWS, of=model):
        (tmp_path / "reviews.csv").write_text(text)
        return load(f"text:reviews.csv#{options}&model={of}")

    return texts


def test_a_text_is_its_vector_under_the_model(texts, model):
    from sentence_transformers import SentenceTransformer

    domain = texts()
    assert isinstance(domain, Labelled)
    assert (domain.schema.kind, domain.schema.classes) == ("table", ("1", "2"))
    assert domain.y.tolist() == [1, 0, 1, 0, 1]
    said = [line.split(",")[0] for line in REVIEWS.splitlines()[1:]]
    wanted = SentenceTransformer(str(model), device="cpu").encode(said)
    np.testing.assert_allclose(domain.x, wanted, atol=1e-6)
    task = Task(target=domain, sources=(domain,))
    adapted = SourceOnly(learner=Logistic(C=1e6)).adapt(task, Run())
    assert (adapted.predict(domain.x).argmax(1) == domain.y).all()


def test_vectors_are_kept_and_serve_another_order(texts, monkeypatch):
    from sentence_transformers import SentenceTransformer

    first = texts()
    monkeypatch.setattr(SentenceTransformer, "encode", None)  # would fail if it were called
    head, *body = REVIEWS.splitlines()
    again = texts(text="\n".join([head, *body[::-1]]) + "\n")
    np.testing.assert_array_equal(again.x, first.x[::-1])


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ("label=stars", BadInput, "one column of texts is needed"),
        ("column=reviw", BadInput, "has no column 'reviw'"),
        ("column=stars", BadInput, "'stars' holds numbers, expected texts"),
        ("column=review&drop=stars", BadInput, "has no option 'drop'"),
    ],
)
def test_what_is_no_text_is_told(texts, options, error, said):
    with pytest.raises(error, match=said):
        texts(options)


def test_a_model_that_is_not_there_is_told_with_the_way_out(texts, tmp_path, monkeypatch):
    with pytest.raises(ProviderUnavailable, match="'no/such' could not be loaded") as caught:
        texts(of=Path("no/such"))
    assert "model=FOLDER" in caught.value.hint
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ProviderUnavailable, match="needs sentence-transformers") as caught:
        texts()
    assert "isthmus[text]" in caught.value.hint

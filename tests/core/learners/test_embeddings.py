"""Features of a pretrained network are computed once per image, whatever happens in between."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models import get_model

from isthmus import Run, Schema
from isthmus.images import ImageFiles, Resized
from isthmus.learners import Backbone
from isthmus.learners.embeddings import CHUNK, embed
from isthmus.learners.network import Network

SCHEMA = Schema(kind="image", shape=(32, 32, 3), classes=("a", "b"))
N = CHUNK + 20


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "shufflenet.pth"
    torch.save(get_model("shufflenet_v2_x0_5", weights=None).state_dict(), path)
    return path


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "embeddings"


def network(weights, shape=(32, 32, 3)):
    backbone = Backbone(model="shufflenet_v2_x0_5", weights=str(weights))
    schema = Schema(kind="image", shape=shape, classes=("a", "b"))
    return Network(schema, backbone, accepts=3, pretrained=True).eval()


def counted(net, x, said=None):
    """Return the features, and how many images the network read."""
    read = []
    hook = net.encoder.register_forward_pre_hook(lambda _, args: read.append(len(args[0])))
    out = embed(net, x, Run(say=[].append if said is None else said.append), "d")
    hook.remove()
    return out, sum(read)


def test_the_second_time_nothing_is_computed(weights, images, cache):
    first, read = counted(network(weights), images)
    assert read == N
    order = np.random.default_rng(1).permutation(N)[:50]
    again, read = counted(network(weights), images[order])
    assert read == 0
    np.testing.assert_array_equal(again, first[order])
    assert len(list(cache.iterdir())) == 1


def test_only_new_images_are_read(weights, images, cache):
    first, _ = counted(network(weights), images[:30])
    out, read = counted(network(weights), images)
    assert read == N - 30
    np.testing.assert_array_equal(out[:30], first)


def test_kept_features_are_those_of_the_network(weights, images, cache, monkeypatch):
    net = network(weights)
    counted(net, images)
    kept, _ = counted(net, images)
    monkeypatch.setenv("ISTHMUS_CACHE", "")
    computed, read = counted(net, images)
    assert read == N
    np.testing.assert_allclose(kept, computed, atol=1e-5)


def test_an_interrupted_run_goes_on(weights, images, cache):
    def interrupt(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(network(weights), images, Run(progress=interrupt), "d")
    assert counted(network(weights), images)[1] == N - CHUNK


def test_progress_begins_at_what_is_known(weights, images, cache):
    told = []
    counted(network(weights), images[:10])
    embed(network(weights), images, Run(progress=lambda *a: told.append(a)), "d")
    assert told == [("embed d", 10 + CHUNK, N), ("embed d", N, N)]
    embed(network(weights), images, Run(progress=lambda *a: told.append(a)), "d")
    assert told[-1] == ("embed d", N, N)


def test_other_weights_and_sizes_share_nothing(weights, images, cache):
    counted(network(weights), images)
    other = network(weights)
    with torch.no_grad():
        next(other.encoder.parameters()).mul_(1.1)
    assert counted(other, images)[1] == N
    larger = Resized(images, (48, 48, 3))
    assert counted(network(weights, (48, 48, 3)), larger)[1] == N
    assert len(list(cache.iterdir())) == 3


def test_files_are_known_by_their_content(weights, images, cache, tmp_path):
    from PIL import Image

    for i in range(5):
        Image.fromarray(images[i]).save(tmp_path / f"{i}.png")
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    first, _ = counted(network(weights), ImageFiles(paths, (32, 32)))
    renamed = paths[0].rename(tmp_path / "other.png")
    again, read = counted(network(weights), ImageFiles([*paths[1:], renamed], (32, 32)))
    assert read == 0
    np.testing.assert_array_equal(again, first[[1, 2, 3, 4, 0]])


def test_random_networks_are_not_kept(images, cache):
    net = Network(
        SCHEMA, Backbone(model="shufflenet_v2_x0_5", weights="none"), accepts=3, pretrained=True
    )
    counted(net.eval(), images[:5])
    assert not cache.exists()


def test_a_broken_file_costs_its_use_only(weights, images, cache):
    first, _ = counted(network(weights), images[:5])
    (path,) = cache.iterdir()
    path.write_bytes(b"no database at all, and long enough to be one" * 30)
    said = []
    again, read = counted(network(weights), images[:5], said)
    assert read == 5
    np.testing.assert_array_equal(again, first)
    assert len(said) == 1
    assert str(path) in said[0]
    assert "not kept" in said[0]


def test_a_vector_of_another_length_is_computed_again(weights, images, cache):
    import sqlite3

    first, _ = counted(network(weights), images[:5])
    (path,) = cache.iterdir()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE kept SET v = x'00'")
    db.close()
    again, read = counted(network(weights), images[:5])
    assert read == 5
    np.testing.assert_array_equal(again, first)


def test_a_folder_that_cannot_be_made_is_told(weights, images, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "file"))
    said = []
    assert counted(network(weights), images[:5], said)[1] == 5
    assert len(said) == 1

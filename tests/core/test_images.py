"""Image files read like an array, at the size a network wants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from isthmus import Domain, Labelled, Schema, files, rows
from isthmus.errors import BadInput
from isthmus.images import ImageFiles, Resized, fit, most_common_size


@pytest.fixture
def arrays():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), np.uint8)


@pytest.fixture
def paths(tmp_path, arrays):
    out = [tmp_path / f"{i}.png" for i in range(len(arrays))]
    for path, array in zip(out, arrays, strict=True):
        Image.fromarray(array).save(path)
    return out


INDICES = [
    slice(None),
    slice(1, 5, 2),
    slice(0, 0),
    np.array([4, 0, 0]),
    [2, 1],
    [],
    np.array([True, False, True, False, False, True]),
    -1,
]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("workers", [1, 4])
def test_indexing_is_that_of_an_array(paths, arrays, index, workers):
    x = ImageFiles(paths, (8, 10), workers=workers)
    got = x[index]
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, arrays[index])
    if not isinstance(index, int):
        view = x.take(index)
        assert isinstance(view, ImageFiles)
        np.testing.assert_array_equal(view[:], arrays[index])


def test_shape_length_and_type(paths, arrays):
    x = ImageFiles(paths, (8, 10))
    assert len(x) == 6
    assert x.shape == arrays.shape
    assert x.dtype == np.uint8
    assert ImageFiles(paths, (4, 4)).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(x), arrays)
    with pytest.raises(IndexError):
        x[6]


def test_taking_reads_no_file(paths, monkeypatch):
    x = ImageFiles(paths, (8, 10))
    y = np.array([0, 1, 0, 1, 0, 1])
    schema = Schema(kind="image", shape=(8, 10, 3), classes=("a", "b"))
    read = []
    original = files.read_image
    monkeypatch.setattr(files, "read_image", lambda p: read.append(p) or original(p))
    domain = Labelled(name="d", schema=schema, x=x, y=y).take(np.array([3, 1]))
    domain = domain.take([True, False])
    assert read == []
    assert domain.x[:].shape == (1, 8, 10, 3)
    assert [p.name for p in read] == ["3.png"]
    assert domain.y.tolist() == [1]


def test_resizing_is_the_arithmetic_of_the_graph_unrounded(paths, arrays):
    got = ImageFiles(paths, (5, 4))[:]
    want = torch.nn.functional.interpolate(
        torch.tensor(arrays).permute(0, 3, 1, 2).float(),
        size=(5, 4),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want.permute(0, 2, 3, 1).numpy(), atol=1e-3)
    assert (got != got.round()).any()
    assert got.min() > -0.01
    assert got.max() < 255.01


def test_batches_agree_with_single_images(paths):
    for x in (ImageFiles(paths, (5, 4), 1), Resized(ImageFiles(paths, (8, 10)), (5, 4, 1))):
        np.testing.assert_array_equal(x[:], np.stack([x[i] for i in range(len(x))]))


def test_one_image_of_another_size_makes_the_request_float(paths, arrays):
    Image.fromarray(arrays[5][:4]).save(paths[5])
    x = ImageFiles(paths, (8, 10))
    assert x[:5].dtype == np.uint8
    got = x[:]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[:5], arrays[:5])


def test_grey_is_repeated_and_colour_is_weighted(tmp_path):
    grey = np.arange(60, dtype=np.uint8).reshape(6, 10)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.new("RGB", (10, 6), (100, 0, 0)).save(tmp_path / "red.png")
    rgb = ImageFiles([tmp_path / "grey.png"], (6, 10), 3)[:]
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb[0], np.repeat(grey[..., None], 3, 2))
    red = ImageFiles([tmp_path / "red.png"], (6, 10), 1)[:]
    assert red.shape == (1, 6, 10, 1)
    np.testing.assert_allclose(red, 29.9, rtol=1e-5)


def test_keys_are_of_the_content(paths, arrays, tmp_path):
    x = ImageFiles(paths, (8, 10), workers=3)
    keys = rows.row_keys(x)
    assert keys.dtype == np.uint64
    assert len(set(keys.tolist())) == 6
    order = np.array([5, 2, 0])
    np.testing.assert_array_equal(x.take(order).row_keys(), keys[order])
    np.testing.assert_array_equal(ImageFiles(paths, (2, 2)).take(order).row_keys(), keys[order])
    copy = tmp_path / "copy.png"
    copy.write_bytes(paths[3].read_bytes())
    assert ImageFiles([copy], (8, 10)).row_keys()[0] == keys[3]


def test_faults_name_the_file(paths):
    paths[2].write_bytes(paths[2].read_bytes()[:60])
    paths[3].unlink()
    x = ImageFiles(paths, (8, 10), workers=2)
    assert len(x[[0, 1]]) == 2
    with pytest.raises(BadInput, match=r"2\.png"):
        x[:3]
    with pytest.raises(BadInput, match=r"3\.png"):
        x[3]
    with pytest.raises(BadInput, match=r"3\.png"):
        x.row_keys()


def test_most_common_size(paths, arrays):
    Image.fromarray(arrays[0][:4]).save(paths[0])
    assert most_common_size(paths) == (8, 10)
    assert most_common_size(paths[:2], sample=1) == (4, 10)
    with pytest.raises(BadInput, match="no image"):
        most_common_size([])


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_resized_arrays(arrays, index):
    x = Resized(arrays, (4, 5, 1))
    assert len(x) == rows.count(x) == 6
    assert x.shape == (6, 4, 5, 1)
    whole = fit(arrays, (4, 5, 1))
    assert x[index].dtype == np.float32
    np.testing.assert_array_equal(x[index], whole[index])
    if not isinstance(index, int):
        np.testing.assert_array_equal(x.take(index)[:], whole[index])
        assert x.take(index).shape == (len(whole[index]), 4, 5, 1)


def test_resized_grey_to_colour_and_keys():
    raw = np.random.default_rng(1).integers(0, 256, (300, 4, 4, 1), np.uint8)
    x = Resized(raw, (8, 8, 3))
    assert x.raw is raw
    np.testing.assert_array_equal(x[:][..., 0], x[:][..., 2])
    np.testing.assert_array_equal(x.row_keys(), rows.row_keys(raw))
    np.testing.assert_array_equal(Resized(raw, (4, 4, 1))[:], raw)


def test_resizing_a_read_only_memory_map(tmp_path):
    np.save(tmp_path / "x.npy", np.full((3, 4, 4, 1), 7, np.float32))
    raw = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_allclose(Resized(raw, (2, 2, 1))[:], 7)


def test_resized_image_files_stay_lazy(paths):
    x = Resized(ImageFiles(paths, (8, 10)), (4, 4, 3))
    view = Domain(name="d", schema=Schema(kind="image", shape=(4, 4, 3)), x=x).take([1, 2]).x
    assert isinstance(view.raw, ImageFiles)
    np.testing.assert_array_equal(view[:], x[[1, 2]])


def test_impossible_sizes_are_refused(paths, arrays):
    with pytest.raises(BadInput, match="channels"):
        ImageFiles(paths, (8, 8), 4)
    with pytest.raises(BadInput, match="size"):
        ImageFiles(paths, (0, 8))
    with pytest.raises(BadInput, match="cannot bring"):
        Resized(arrays[0], (4, 4, 3))

"""Folders of images: classes, sizes, splits, and folders that are not what they should be."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from isthmus import BadInput, Labelled
from isthmus.images import ImageFiles


@pytest.fixture
def folder(tmp_path):
    for label, count in (("cat", 10), ("dog", 5)):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for i in range(count):
            image = Image.new("RGB", (8, 6), (i, 0, 0))
            image.save(tmp_path / "pets" / label / f"{i}.{('png', 'bmp', 'webp')[i % 3]}")
    return tmp_path / "pets"


def test_sub_folders_are_classes(folder, load):
    d = load("images:pets")
    assert isinstance(d, Labelled)
    assert d.name == "pets"
    assert isinstance(d.x, ImageFiles)
    assert d.schema.classes == ("cat", "dog")
    assert d.schema.shape == (6, 8, 3)
    assert np.bincount(d.y).tolist() == [10, 5]
    assert d.x[[0, -1]].shape == (2, 6, 8, 3)


def test_a_flat_folder_is_unlabelled(folder, load):
    d = load("images:pets/dog")
    assert not isinstance(d, Labelled)
    assert d.schema.classes == ()
    assert len(d) == 5


@pytest.mark.parametrize(("size", "shape"), [("4", (4, 4)), ("4x12", (4, 12))])
def test_sizes(folder, load, size, shape):
    d = load(f"images:pets#size={size}")
    assert d.schema.shape == (*shape, 3)
    assert d.x[:2].shape == (2, *shape, 3)


def test_a_grey_folder_has_one_channel(tmp_path, load):
    (tmp_path / "grey").mkdir()
    Image.new("L", (5, 5)).save(tmp_path / "grey" / "a.jpeg")
    assert load("images:grey").schema.shape == (5, 5, 1)
    Image.new("RGB", (5, 5)).save(tmp_path / "grey" / "b.JPG")
    assert load("images:grey").schema.shape == (5, 5, 3)


def test_the_split_is_disjoint_complete_and_in_proportion(folder, load):
    train, test = load("images:pets#split=train"), load("images:pets#split=test")
    assert np.bincount(test.y).tolist() == [2, 1]
    both = [str(p) for p in (*train.x.paths, *test.x.paths)]
    assert len(set(both)) == len(both) == 15
    again = load("images:pets#split=test")
    assert again.x.paths.tolist() == test.x.paths.tolist()
    other = load("images:pets#split=test&seed=7")
    assert other.x.paths.tolist() != test.x.paths.tolist()
    assert len(load("images:pets#split=test&test=0.5")) == 7
    assert all(p.parent.name == test.schema.classes[i] for p, i in zip(test.x.paths, test.y))


def test_the_split_does_not_read_the_content(folder, load):
    before = [p.name for p in load("images:pets#split=test").x.paths]
    Image.new("RGB", (8, 6), (99, 99, 99)).save(folder / "cat" / "0.png")
    assert [p.name for p in load("images:pets#split=test").x.paths] == before


def test_hidden_folders_within_are_left_out(folder, load):
    before = len(load(f"images:{folder}"))
    label = next(folder.iterdir())
    (label / ".ipynb_checkpoints").mkdir()
    next(label.glob("*.png")).rename(label / ".ipynb_checkpoints" / "copy.png")
    assert len(load(f"images:{folder}")) == before - 1


def test_hidden_files_and_other_files_are_left_out(folder, load):
    (folder / "README.txt").write_text("pets")
    (folder / ".cache").mkdir()
    (folder / "cat" / "._1.png").write_bytes(b"junk")
    assert len(load("images:pets")) == 15


def test_folders_that_are_not_image_folders(folder, load, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty holds no image"):
        load("images:empty")
    with pytest.raises(BadInput, match="is a file, expected a folder"):
        load("images:pets/cat/0.png")
    with pytest.raises(BadInput, match="there is no"):
        load("images:nowhere")
    (folder / "emu").mkdir()
    with pytest.raises(BadInput, match="emu holds no image"):
        load("images:pets")
    (folder / "emu").rmdir()
    Image.new("L", (5, 5)).save(folder / "stray.png")
    with pytest.raises(BadInput, match=r"both in sub-folders and beside them, such as stray\.png"):
        load("images:pets")


def test_an_unreadable_file_is_named(folder, load):
    (folder / "cat" / "3.png").write_bytes(b"not an image")
    with pytest.raises(BadInput, match=r"3\.png is not a readable image"):
        load("images:pets")
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(noise).save(folder / "cat" / "3.png")
    good = (folder / "cat" / "3.png").read_bytes()
    (folder / "cat" / "3.png").write_bytes(good[:60])  # the header is whole, the pixels are not
    d = load("images:pets")
    with pytest.raises(BadInput, match=r"3\.png is not a readable image"):
        d.x[:]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("size=0", "size=0, expected pixels"),
        ("size=4x", "size=4x, expected pixels"),
        ("split=half", "split=half is not one of"),
        ("test=1.5&split=test", "test=1.5, expected a number between 0 and 1"),
        ("resize=4", "no option 'resize'"),
    ],
)
def test_mistakes_in_the_uri(folder, load, options, sentence):
    with pytest.raises(BadInput, match=sentence):
        load(f"images:pets#{options}")

"""Files from strangers: what is read, and the one sentence for each thing that is wrong."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from isthmus.errors import BadInput
from isthmus.files import image_shape, read_csv, read_image, read_npz


def test_npz_round_trip(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.eye(3), names=np.array(["a", "b"]))
    got = read_npz(tmp_path / "a.npz")
    assert set(got) == {"x", "names"}
    np.testing.assert_array_equal(got["x"], np.eye(3))


def damaged(tmp_path):
    good = io.BytesIO()
    np.savez_compressed(good, x=np.random.default_rng(0).normal(size=(50, 50)))
    whole = good.getvalue()
    middle = bytearray(whole)
    middle[len(whole) // 2 : len(whole) // 2 + 8] = b"\0" * 8
    array = io.BytesIO()
    np.save(array, np.eye(2))
    stranger = io.BytesIO()
    with zipfile.ZipFile(stranger, "w") as z:
        z.writestr("notes.txt", "hello")
    return {
        "empty": b"",
        "text": b"x,y\n1,2\n",
        "truncated": whole[: len(whole) // 2],
        "no directory": whole[:-30],
        "flipped": bytes(middle),
        "npy": array.getvalue(),
        "other zip": stranger.getvalue(),
    }


@pytest.mark.parametrize("fault", list(damaged(None)))
def test_damaged_npz_is_one_sentence_that_names_the_file(tmp_path, fault):
    path = tmp_path / "bad.npz"
    path.write_bytes(damaged(tmp_path)[fault])
    with pytest.raises(BadInput, match=r"bad\.npz") as caught:
        read_npz(path)
    assert "\n" not in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


def test_npz_refuses_pickles(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], object))
    with pytest.raises(BadInput, match="pickle"):
        read_npz(tmp_path / "a.npz")


def test_missing_file_and_folder(tmp_path):
    for read in (read_npz, read_csv, read_image, image_shape):
        with pytest.raises(BadInput, match="there is no file"):
            read(tmp_path / "none")
        with pytest.raises(BadInput, match="is a folder"):
            read(tmp_path)


def test_csv_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('﻿age, name ,empty\n1,"b, c",\n,d,\n\n-2.5e1,,\n', encoding="utf-8")
    header, columns = read_csv(path)
    assert header == ["age", "name", "empty"]
    np.testing.assert_array_equal(columns["age"], [1, np.nan, -25])
    assert columns["age"].dtype == np.float64
    assert columns["name"].tolist() == ["b, c", "d", ""]
    assert np.isnan(columns["empty"]).all()


def test_csv_with_numbered_columns_has_a_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("0,1\n5,6\n")
    assert read_csv(path)[0] == ["0", "1"]


def test_csv_does_not_take_odd_spellings_for_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1_000,0x1F\n")
    columns = read_csv(path)[1]
    assert columns["a"].tolist() == ["1_000"]
    assert columns["b"].tolist() == ["0x1F"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,2\n3\n", "line 3: 1 cells, expected 2"),
        (b'a,b\n"1\n2",2\n3,4,5\n', "line 4: 3 cells"),
        (b"1.5,2\n3,4\n", "no header"),
        (b"a,a\n1,2\n", "two columns named 'a'"),
        (b",a\n0,2\n", "column 1 has no name"),
        (b"a;b\n1;2\n", "not separated by commas"),
        (b"a,b\n1,\xe9t\xe9\n", "not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "not UTF-8"),
        (b'a,b\n1,"2\n', "line"),
    ],
)
def test_bad_csv(tmp_path, content, sentence):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=sentence) as caught:
        read_csv(path)
    assert "bad.csv" in str(caught.value)


def save(path, array, mode=None, **kwargs):
    Image.fromarray(array).convert(mode).save(path, **kwargs)
    return path


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)]
)
def test_image_modes(tmp_path, mode, channels):
    array = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    path = save(tmp_path / "a.png", array, mode)
    got = read_image(path)
    assert got.dtype == np.uint8
    assert got.shape == (5, 7, channels) == image_shape(path)
    if mode in ("RGB", "RGBA"):
        np.testing.assert_array_equal(got, array)


def test_palette_with_transparency_is_its_colours(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=b"\x00\xff")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[255, 0, 0], [0, 0, 255]]])


def test_cmyk_becomes_rgb(tmp_path):
    path = save(tmp_path / "a.jpg", np.zeros((8, 8, 3), np.uint8), "CMYK")
    assert read_image(path).shape == image_shape(path) == (8, 8, 3)


def test_sixteen_bits_are_scaled(tmp_path):
    Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[..., 0].tolist() == [[0, 1, 128, 255]]
    assert image_shape(tmp_path / "a.png") == (1, 4, 1)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation_is_applied(tmp_path, suffix):
    array = np.zeros((8, 24, 3), np.uint8)
    array[:, :8] = 255  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    path = save(tmp_path / f"a.{suffix}", array, exif=exif)
    got = read_image(path)
    assert got.shape == image_shape(path) == (24, 8, 3)
    assert got[:6].min() > 250  # white on top
    assert got[10:].max() < 5


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
@pytest.mark.parametrize("keep", [0, 20, 400])
def test_truncated_images_name_the_file(tmp_path, suffix, keep):
    array = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    path = save(tmp_path / f"bad.{suffix}", array)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=rf"bad\.{suffix} is not a readable image"):
        read_image(path)


def test_reading_needs_neither_torch_nor_sklearn():
    heavy = "{'torch', 'sklearn', 'scipy', 'pandas'}"
    code = f"import sys, isthmus.files; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_blank_lines_of_a_table_are_skipped_wherever_they_are(tmp_path):
    (tmp_path / "t.csv").write_text("\n\na,b\n\n1,2\n\n")
    header, columns = read_csv(tmp_path / "t.csv")
    assert header == ["a", "b"]
    assert columns["b"].tolist() == [2.0]

"""Image folders: layouts, odd files reported at once, and conversions compared with Pillow and NumPy used directly."""

import io
import os
import warnings

import numpy as np
import pytest
from PIL import Image

from jdarts.config import DataConfig
from jdarts.data import image_files, load
from jdarts.data.streaming import BatchShare, Stream, open_streams
from jdarts.errors import DataNote, DataWarning, UserError

RED = Image.new("RGB", (6, 5), (200, 30, 10))


def random_images(n, shape=(5, 6, 3), seed=0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (n, *shape)).astype(np.uint8)


def write_images(folder, images, suffix="png"):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(folder / f"{i:03d}.{suffix}")


def read(folder, **options):
    return load(DataConfig(source="folder", path=str(folder), **options))


def refused(call, *texts):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        with pytest.raises(UserError) as caught:
            call()
    assert "\n" not in str(caught.value)
    for text in texts:
        assert text in str(caught.value), str(caught.value)


@pytest.fixture
def tidy(tmp_path):
    """Two classes of three RGB images, 5x6, in train/, one each in test/."""
    images = random_images(8)
    for split, count in (("train", 3), ("test", 1)):
        write_images(tmp_path / split / "ant", images[:count])
        write_images(tmp_path / split / "bee", images[3 : 3 + count])
    return tmp_path


@pytest.mark.parametrize("shape", [(5, 6, 3), (4, 4, 1)])
def test_folder_round_trip(tmp_path, shape):
    images = random_images(30, shape)
    for split, start in (("train", 0), ("test", 20), ("val", 26)):
        count = 10 if split == "train" else 3 if split == "test" else 2
        write_images(tmp_path / split / "zebra", images[start : start + count])
        write_images(tmp_path / split / "ant", images[start + count : start + 2 * count])
    dataset = load(DataConfig(source="folder", path=str(tmp_path)))
    assert dataset.num_classes == 2 and dataset.val is not None and dataset.test is not None
    np.testing.assert_array_equal(dataset.test.images, np.concatenate([images[23:26], images[20:23]]))
    assert dataset.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(dataset.val.images, np.concatenate([images[28:30], images[26:28]]))
    expected = sorted((bytes(images[i].tobytes()), int(i < 10)) for i in range(20))
    got = zip(dataset.train.images, dataset.train.labels, strict=True)
    assert sorted((image.tobytes(), int(label)) for image, label in got) == expected
    with pytest.warns(DataNote, match="its validation split train the alphas"):
        halves = dataset.for_search(DataConfig())
    assert halves.val is dataset.val and len(halves.train) == 20


def test_folder_reads_jpeg_and_palette_images(tmp_path):
    smooth = np.full((2, 8, 8, 3), 90, np.uint8)
    write_images(tmp_path / "train" / "a", smooth, "JPG")
    write_images(tmp_path / "test" / "a", smooth[:1], "jpeg")
    Image.fromarray(smooth[0]).convert("P").save(tmp_path / "train" / "a" / "palette.png")
    (tmp_path / "train" / "a" / "notes.txt").write_text("ignored")
    dataset = load(DataConfig(source="folder", path=str(tmp_path)))
    assert dataset.train.images.shape == (3, 8, 8, 3)
    assert abs(dataset.test.images.astype(int) - 90).max() <= 2


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def add_odd_files(ant):
    """One file, link or folder of each odd kind in `ant`; how the report counts them."""
    os.symlink(ant / "nowhere.png", ant / "broken.png")
    (ant / "folder.png").mkdir()
    (ant / "empty.png").touch()
    (ant / "text.png").write_text("no image")
    whole = png(Image.fromarray(random_images(1, (5, 6, 3), seed=9)[0]))
    (ant / "short.png").write_bytes(whole[:60])
    RED.convert("CMYK").save(ant / "print.jpg")
    RED.convert("RGBA").save(ant / "layer.png")
    RED.convert("LA").save(ant / "veil.png")
    Image.fromarray(np.full((5, 6), 30_000, np.uint16)).save(ant / "deep.png")
    palette = RED.convert("P")
    palette.save(ant / "palette.png", transparency=0)
    RED.convert("L").save(ant / "gray.png")
    for i in range(4):
        RED.resize((7, 7 + i)).save(ant / f"size{i}.png")
    return (
        "1 a broken link (train/ant/broken.png)",
        "1 a folder, not a file (train/ant/folder.png)",
        "1 empty (train/ant/empty.png)",
        "1 not readable as PNG, JPEG, WebP or BMP (train/ant/text.png)",
        "1 truncated (train/ant/short.png)",
        "1 CMYK (train/ant/print.jpg)",
        "1 RGBA (train/ant/layer.png)",
        "1 gray with transparency (LA) (train/ant/veil.png)",
        "1 16-bit (train/ant/deep.png)",
        "1 a palette with transparency (train/ant/palette.png)",
        "1 gray where most are RGB (train/ant/gray.png)",
        "4 not of the most frequent size 5x6 (train/ant/size0.png, train/ant/size1.png, train/ant/size2.png, …)",
    )


@pytest.mark.parametrize("threads", [0, 4])
@pytest.mark.parametrize("glance", [False, True])
def test_all_odd_files_are_reported_at_once(tidy, monkeypatch, threads, glance):
    if glance:  # as in a folder of 20,000 files: after the first odd shape only headers are read
        monkeypatch.setattr(image_files, "HEADERS_FROM", 1)
    kinds = add_odd_files(tidy / "train" / "ant")
    refused(
        lambda: read(tidy, read_threads=threads),
        "15 of 23 images cannot be used",
        *kinds,
        "--data.color rgb",
        "--data.image_size SIDE",
        "replace or remove",
    )
    refused(
        lambda: read(tidy, read_threads=threads, color="rgb", image_size=(5, 6)),
        "5 of 23 images cannot be used",
        *kinds[:5],
    )
    for name in ("broken.png", "empty.png", "text.png", "short.png"):
        (tidy / "train" / "ant" / name).unlink()
    (tidy / "train" / "ant" / "folder.png").rmdir()
    assert read(tidy, read_threads=threads, color="rgb", image_size=(5, 6)).train.images.shape == (16, 5, 6, 3)
    assert read(tidy, read_threads=threads, color="gray", image_size=8).train.images.shape == (16, 8, 8, 1)


def test_unreadable_files_are_odd_files(tidy, monkeypatch):
    def denied(file):
        raise image_files.OddImage("not readable (Permission denied)")

    refused(lambda: read(tidy / "nowhere"), "is not a folder")
    monkeypatch.setattr(image_files, "_content", denied)
    refused(lambda: read(tidy), "8 of 8 images", "8 not readable (Permission denied)")


def only(folder, **options) -> np.ndarray:
    """The only image of class ant."""
    data = read(folder, **options)
    (row,) = np.flatnonzero(data.train.labels == 0)
    return data.train.images[row].astype(int)


def test_colours_are_converted_as_documented(tmp_path):
    rgb = random_images(1, (5, 6, 3), seed=3)[0].astype(int)
    alpha = random_images(1, (5, 6, 1), seed=4)[0].astype(int)
    deep = np.random.RandomState(5).randint(0, 65536, (5, 6, 1))
    luma = np.array([0.299, 0.587, 0.114])
    on_white = (rgb * alpha + 255 * (255 - alpha)) / 255
    gray = rgb[..., :1]
    gray_on_white = (gray * alpha + 255 * (255 - alpha)) / 255
    write_images(tmp_path / "train" / "bee", random_images(2))
    write_images(tmp_path / "test" / "ant", random_images(1))
    place = tmp_path / "train" / "ant"
    place.mkdir()

    def save(image):
        image.save(place / "one.png")

    cases = [
        (Image.fromarray(rgb.astype(np.uint8)), rgb),
        (Image.fromarray(np.concatenate([rgb, alpha], -1).astype(np.uint8)), on_white),
        (Image.fromarray(np.concatenate([gray, alpha], -1).astype(np.uint8)), gray_on_white.repeat(3, -1)),
        (Image.fromarray(gray[..., 0].astype(np.uint8)), gray.repeat(3, -1)),
        (Image.fromarray(deep[..., 0].astype(np.uint16)), np.rint(deep / 257).repeat(3, -1)),
    ]
    for image, expected in cases:
        save(image)
        assert abs(only(tmp_path, color="rgb") - expected).max() <= 1.01
        assert abs(only(tmp_path, color="gray") - (expected @ luma)[..., None]).max() <= 2
    bits = Image.fromarray((rgb[..., 0] > 127).astype(np.uint8) * 255).convert("1")
    save(bits)
    np.testing.assert_array_equal(only(tmp_path, color="gray")[..., 0], (rgb[..., 0] > 127) * 255)
    (place / "one.png").unlink()
    Image.fromarray(rgb.astype(np.uint8)).resize((60, 50)).convert("CMYK").save(place / "one.jpg", quality=95)
    found = only(tmp_path, color="rgb", image_size=(50, 60))
    ink = np.asarray(Image.open(place / "one.jpg")).astype(int)  # C, M, Y, K as Pillow decodes them
    assert abs(found - (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255).max() <= 2


def test_images_are_scaled_until_they_cover_the_size_and_their_centre_is_cut_out(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = (10, 200, 90)  # the centre square
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "x.png")
    write_images(tmp_path / "train" / "ant", wide[None])
    write_images(tmp_path / "train" / "bee", random_images(1, (30, 10, 3)))
    write_images(tmp_path / "test" / "ant", random_images(1))
    np.testing.assert_array_equal(only(tmp_path, image_size=8), wide[:, 8:16])
    inside = only(tmp_path, image_size=4)[:, 1:-1]  # filters reach across the edges of the cut
    assert (abs(inside - [10, 200, 90]) <= 1).all()
    slope = np.tile(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], (12, 1, 3))
    Image.fromarray(slope).save(tmp_path / "train" / "ant" / "000.png")
    half = only(tmp_path, image_size=(6, 12))
    # antialiased bilinear scaling is a triangle twice as wide: weights 1, 3, 3, 1 of 8; a slope stays a slope
    assert abs(half[:, 1:-1, 0] - (slope[::2, ::2, 0] + 5.0)[:, 1:-1]).max() <= 1


def test_sizes_and_colours_of_arrays_are_converted_too():
    digits = load(DataConfig(source="digits"))
    large = load(DataConfig(source="digits", image_size=16, color="rgb"))
    assert large.train.images.shape == (1437, 16, 16, 3) and len(large.mean) == 3
    picture = Image.fromarray(digits.train.images[5, ..., 0]).convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(large.train.images[5], np.asarray(picture))
    np.testing.assert_allclose(large.mean, large.train.images.mean((0, 1, 2)) / 255, rtol=1e-9)
    same = load(DataConfig(source="digits", image_size=8))
    np.testing.assert_array_equal(same.train.images, digits.train.images)
    refused(lambda: load(DataConfig(source="synthetic:8x8x2:3:20", image_size=4)), "2 channels")
    for size in (0, (4, 0), -1):
        refused(lambda size=size: DataConfig(image_size=size), "data.image_size is")


def test_webp_and_bmp_are_read_and_other_formats_are_told(tidy):
    image = random_images(1, seed=7)[0]
    ant = tidy / "train" / "ant"
    Image.fromarray(image).save(ant / "w.webp", lossless=True)
    Image.fromarray(image).save(ant / "b.BMP")
    for name in ("g.gif", "t.tif", "t2.TIFF", "p.ppm"):
        (ant / name).write_bytes(b"not looked at")
    with pytest.warns(DataWarning, match=r"4 images are skipped.*train/ant/g.gif, train/ant/p.ppm, train/ant/t.tif, …"):
        data = read(tidy)
    assert len(data.train) == 8
    assert sum(np.array_equal(found, image) for found in data.train.images) == 2


def test_layouts_as_people_have_them(tidy):
    ordinary = read(tidy)
    assert ordinary.class_names == ("ant", "bee") and ordinary.val is None

    def same(data):
        np.testing.assert_array_equal(data.train.images, ordinary.train.images)
        np.testing.assert_array_equal(data.train.labels, ordinary.train.labels)

    for name in ("ant", "bee"):  # Tiny-ImageNet: train/CLASS/images/ with a list of boxes next to it
        place = tidy / "train" / name
        place.rename(tidy / "moved")
        place.mkdir()
        (tidy / "moved").rename(place / "images")
        (place / f"{name}_boxes.txt").write_text("000.png 0 0 5 5")
    same(read(tidy))
    for name in ("val", "validation"):
        test = next(tidy / folder for folder in ("test", "val") if (tidy / folder).is_dir())
        test.rename(tidy / name)
        with pytest.warns(DataNote, match=f"images of {name}/ are the test images"):
            data = read(tidy)
        same(data)
        assert data.test is not None and ordinary.test is not None and data.val is None
        np.testing.assert_array_equal(data.test.images, ordinary.test.images)
    (tidy / "validation").rename(tidy / "elsewhere")
    with pytest.warns(DataNote, match="no test/CLASS/ and no val/CLASS/: it can be searched on"):
        data = read(tidy)
    same(data)
    assert data.test is None and len(data.for_search(DataConfig()).val) == 3
    refused(data.for_training, "no labelled test images", "test/CLASS/")
    (tidy / "test" / "images").mkdir(parents=True)
    RED.save(tidy / "test" / "images" / "0.png")
    with pytest.warns(DataNote) as caught:
        assert read(tidy).test is None
    assert "test has no class folders, so its images have no labels" in str(caught[0].message)
    RED.save(tidy / "test" / "1.png")
    (tidy / "test" / "images" / "0.png").unlink()
    (tidy / "test" / "images").rmdir()
    with pytest.warns(DataNote) as caught:
        assert read(tidy).test is None
    assert "test has no class folders" in str(caught[0].message)


def test_mistakes_in_the_layout_are_one_line(tmp_path):
    refused(lambda: read(tmp_path), "has no folder 'train' (it has no folders)")
    (tmp_path / "cats").mkdir()
    refused(lambda: read(tmp_path), "has no folder 'train' (it has cats)", "train/CLASS/")
    (tmp_path / "train").mkdir()
    refused(lambda: read(tmp_path), "has no class folders")
    write_images(tmp_path / "train" / "a", random_images(2))
    write_images(tmp_path / "test" / "b", random_images(2))
    refused(lambda: read(tmp_path), "test/b is not a class of")
    (tmp_path / "test" / "b").rename(tmp_path / "test" / "a")
    (tmp_path / "train" / "b").mkdir()
    refused(lambda: read(tmp_path), "train/b has no images (.png")
    refused(lambda: open_streams(DataConfig(source="stream:folder", path=str(tmp_path))), "train/b has no images")
    (tmp_path / "train" / "b").rmdir()
    for file in (tmp_path / "test" / "a").iterdir():
        file.unlink()
    refused(lambda: read(tmp_path), "class folders of the test split", "have no images")


def test_more_than_the_memory_is_refused(tidy, monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 25)
    refused(lambda: read(tidy), "8 images of 5x6 RGB take", "stream:folder")


def test_streams_share_the_scan_and_name_the_file(tidy):
    config = DataConfig(source="stream:folder", path=str(tidy), image_size=4, train_fraction=0.4, val_fraction=0.4)
    bee = tidy / "train" / "bee"
    for i, image in enumerate((RED.convert("CMYK"), RED.convert("RGB"))):
        image.save(bee / f"0{i}.jpg")
    RED.convert("RGBA").save(bee / "layer.png")
    data = open_streams(config)
    stream = Stream(data.train, BatchShare(batch_size=2), seed=0, size=4, threads=0)
    assert stream.batch(0)["images"].shape == (2, 4, 4, 3)
    for file in (tidy / "train").rglob("*.png"):
        file.write_bytes(b"\x89PNG damaged")
    for file in (tidy / "train").rglob("*.jpg"):
        file.write_bytes(b"\xff\xd8\xff damaged")
    with pytest.raises(UserError, match=r"train/(ant|bee)/.*(png|jpg) is not readable as PNG, JPEG"):
        stream.batch(0)
    for file in (tidy / "train").rglob("*.*g"):
        file.unlink()
    with pytest.raises(UserError, match=r"train/(ant|bee)/.* cannot be read: No such file"):
        stream.batch(0)
    (bee / "x.png").touch()
    os.symlink("nowhere", tidy / "train" / "ant" / "y.jpg")
    refused(lambda: open_streams(config), "1 a broken link (train/ant/y.jpg), 1 empty (train/bee/x.png)")


def test_streams_keep_the_classes_under_a_limit_and_follow_the_seed(tmp_path):
    for name in ("ant", "bee"):
        write_images(tmp_path / "train" / name, random_images(12))
    config = {"source": "stream:folder", "path": str(tmp_path), "image_size": 4}
    whole = open_streams(DataConfig(**config))
    few = open_streams(DataConfig(**config, limit=8))
    labels = few.train.source.labels()
    assert labels[few.train.rows].tolist() == labels[few.val.rows].tolist() == [0, 0, 1, 1]
    assert not set(few.train.rows) & set(few.val.rows)
    seeds = [open_streams(DataConfig(**config, shuffle=seed)).train.rows.tolist() for seed in (0, 1)]
    assert seeds[0] == whole.train.rows.tolist() != seeds[1]
    for options, text in (({"shrink": 2}, "data.shrink"), ({"color": "gray"}, "data.color")):
        refused(lambda options=options: DataConfig(**config, **options), text)
    refused(lambda: DataConfig(source="stream:folder", image_size=(4, 5)), "square")
    assert DataConfig(source="stream:folder").streamed_side == 224


def test_real_photographs_of_many_sizes_are_made_alike(real_data, tmp_path):
    """COCO: JPEGs of many sizes, two of them gray; every pixel equals that of Pillow without jdarts."""
    chosen = []
    for i, file in enumerate(sorted((real_data / "coco256").rglob("*.jpg"))[:24]):
        place = tmp_path / ("val" if i % 4 == 3 else "train") / f"class_{i % 2}"
        place.mkdir(parents=True, exist_ok=True)
        chosen.append(place / f"{i:02}.jpg")
        if i < 2:
            Image.open(file).convert("L").save(chosen[-1])
        else:
            os.symlink(file, chosen[-1])
    refused(lambda: read(tmp_path), "not of the most frequent size", "2 gray where most are RGB", "--data.image_size")
    with pytest.warns(DataNote, match="images of val/ are the test images"):
        data = read(tmp_path, image_size=32, color="rgb", read_threads=4)
    assert data.train.images.shape == (18, 32, 32, 3) and data.test is not None and len(data.test) == 6

    def alone(file) -> np.ndarray:
        with Image.open(file) as stored:
            image = stored.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        return np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR, box=box))

    expected = {alone(file).tobytes(): i % 2 for i, file in enumerate(chosen) if i % 4 != 3}
    found = {image.tobytes(): int(label) for image, label in zip(data.train.images, data.train.labels, strict=True)}
    assert found == expected

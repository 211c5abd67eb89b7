"""CIFAR-10 and CIFAR-100 in every official form, generated small; hostile and damaged files are refused."""

import gzip
import io
import pickle
import struct
import tarfile

import numpy as np
import pytest

from jdarts.config import DataConfig
from jdarts.data import load
from jdarts.data.cifar_pickle import read_batch
from jdarts.errors import UserError

PER_BATCH = 8
BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


def random_set(n, classes, seed=0):
    random = np.random.RandomState(seed)
    return random.randint(0, 256, (n, 32, 32, 3)).astype(np.uint8), random.randint(0, classes, n)


def planes(images) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), 3072)


def python_2_pickle(images, labels, label_key="labels", fortran=False) -> bytes:
    """The opcodes that Python 2's cPickle wrote into the official files: protocol 2, byte strings."""

    def short(text):
        return b"U" + bytes([len(text)]) + text.encode()

    def integer(value):
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    data = planes(images)
    raw = data.tobytes("F" if fortran else "C")
    out = b"\x80\x02}q\x01("
    out += short("data") + b"q\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85"
    out += short("b") + b"\x87Rq\x05(K\x01" + integer(len(images)) + integer(3072) + b"\x86"
    out += b"cnumpy\ndtype\nq\x06" + short("u1") + b"K\x00K\x01\x87Rq\x07(K\x03" + short("|")
    out += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb" + (b"\x88" if fortran else b"\x89")
    out += b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
    out += short(label_key) + b"]q\x08(" + b"".join(integer(int(label)) for label in labels) + b"e"
    out += short("batch_label") + b"q\x09" + short("training batch 1 of 5") + b"q\x0a"
    out += short("filenames") + b"]q\x0b(" + b"".join(short(f"x_{i}.png") for i in range(len(labels))) + b"eu."
    return out


def python_3_pickle(images, labels, label_key="labels") -> bytes:
    batch = {
        b"batch_label": b"training batch 1 of 5",
        label_key.encode(): [int(label) for label in labels],
        b"data": planes(images),
        b"filenames": [f"x_{i}.png".encode() for i in range(len(labels))],
    }
    return pickle.dumps(batch, protocol=2)


def cifar10_files(form):
    images, labels = random_set(6 * PER_BATCH, 10)
    files = {}
    for i, name in enumerate([*BATCHES, "test_batch"]):
        part = slice(i * PER_BATCH, (i + 1) * PER_BATCH)
        if form == "binary":
            rows = np.concatenate([labels[part, None].astype(np.uint8), planes(images[part])], 1)
            files[f"{name}.bin"] = rows.tobytes()
        else:
            write = python_2_pickle if form == "python2" else python_3_pickle
            files[name] = write(images[part], labels[part])
    return images, labels, files


def cifar100_files(form):
    images, fine = random_set(20, 100, seed=3)
    coarse = fine // 5
    if form == "binary":
        rows = np.concatenate([coarse[:, None], fine[:, None], planes(images)], 1).astype(np.uint8)
        files = {"train.bin": rows[:15].tobytes(), "test.bin": rows[15:].tobytes()}
    else:
        write = python_2_pickle if form == "python2" else python_3_pickle
        files = {
            "train": write(images[:15], fine[:15], "fine_labels"),
            "test": write(images[15:], fine[15:], "fine_labels"),
        }
    return images, fine, files


def place(files, where, tmp_path, folder, archive):
    """Put the files where a user may have them; returns data.path."""
    target = tmp_path / "cifar" if where == "folder" else tmp_path / "cifar" / folder
    if where in ("folder", "parent"):
        target.mkdir(parents=True)
        for name, content in files.items():
            (target / name).write_bytes(content)
        return tmp_path / "cifar"
    path = tmp_path / archive
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {"readme.html": b"hello", **files}.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path if where == "archive" else tmp_path


@pytest.mark.parametrize("where", ["folder", "parent", "archive", "folder of archive"])
@pytest.mark.parametrize("form", ["binary", "python2", "python3"])
def test_cifar10_round_trip(tmp_path, form, where):
    images, labels, files = cifar10_files(form)
    kind = ("bin", "binary") if form == "binary" else ("py", "python")
    path = place(files, where, tmp_path, f"cifar-10-batches-{kind[0]}", f"cifar-10-{kind[1]}.tar.gz")
    dataset = load(DataConfig(source="cifar10", path=str(path)))
    np.testing.assert_array_equal(dataset.train.images, images[:40])
    np.testing.assert_array_equal(dataset.train.labels, labels[:40])
    np.testing.assert_array_equal(dataset.test.images, images[40:])
    np.testing.assert_array_equal(dataset.test.labels, labels[40:])
    assert dataset.num_classes == 10
    assert dataset.mean == (0.49139968, 0.48215827, 0.44653124)
    assert dataset.std == (0.24703233, 0.24348505, 0.26158768)


@pytest.mark.parametrize("where", ["folder", "archive"])
@pytest.mark.parametrize("form", ["binary", "python2", "python3"])
def test_cifar100_round_trip_uses_the_fine_labels(tmp_path, form, where):
    images, labels, files = cifar100_files(form)
    kind = "binary" if form == "binary" else "python"
    path = place(files, where, tmp_path, f"cifar-100-{kind}", f"cifar-100-{kind}.tar.gz")
    dataset = load(DataConfig(source="cifar100", path=str(path)))
    np.testing.assert_array_equal(dataset.train.images, images[:15])
    np.testing.assert_array_equal(dataset.train.labels, labels[:15])
    np.testing.assert_array_equal(dataset.test.labels, labels[15:])
    assert dataset.num_classes == 100 and dataset.mean == (0.5071, 0.4865, 0.4409)
    assert dataset.std == (0.2673, 0.2564, 0.2762)


def test_the_hand_written_pickle_is_a_real_one():
    images, labels = random_set(4, 10)
    for content in (python_2_pickle(images, labels), python_2_pickle(images, labels, fortran=True)):
        batch = pickle.loads(content, encoding="bytes")
        own = read_batch(content, "x")
        np.testing.assert_array_equal(batch[b"data"], planes(images))
        np.testing.assert_array_equal(own["data"], planes(images))
        assert own["labels"] == batch[b"labels"] == labels.tolist()
        assert own["filenames"] == batch[b"filenames"]


def fails(source, path, message):
    with pytest.raises(UserError, match=message) as caught:
        load(DataConfig(source=source, path=str(path)))
    assert "\n" not in str(caught.value)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path, protocol):
    flag = tmp_path / "executed"
    for content in (
        pickle.dumps({b"data": Evil(str(flag)), b"labels": [1]}, protocol=protocol),
        pickle.dumps(Evil(str(flag)), protocol=protocol),
    ):
        with pytest.raises(UserError, match=r"batch_1 is not a plain CIFAR batch .*binary version"):
            read_batch(content, "batch_1")
    assert not flag.exists()
    pickle.loads(pickle.dumps(Evil(str(flag)), protocol=protocol)).close()
    assert flag.exists()  # the pickle works, so it is our reader that makes it harmless


@pytest.mark.parametrize(
    "content,reason",
    [
        (b"\x80\x02c_codecs\nencode\nX\x01\0\0\0xX\x06\0\0\0base64\x86R.", "a call of '_codecs encode'"),
        (b"\x80\x02cnumpy\nndarray\nK\x05\x85R.", "a call of 'numpy ndarray'"),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nNNN\x87R.", "an unusual array"),
        (b"\x80\x02cos\nsystem\nU\x04true\x85R.", "it refers to 'os system'"),
        (b"\x80\x02})b.", "dict where Array belongs"),
        (b"\x80\x02e.", "a mark is missing"),
        (b"\x80\x02}}.", "it ends in the middle of a value"),
        (b"\x80\x02K\x01.", "it holds no dict"),
    ],
)
def test_a_hostile_call_of_an_allowed_name_is_refused(content, reason):
    with pytest.raises(UserError) as caught:
        read_batch(content, "batch")
    assert f"batch is not a plain CIFAR batch ({reason}" in str(caught.value)


def test_every_truncation_of_a_pickle_is_refused():
    images, labels = random_set(1, 10)
    content = python_2_pickle(images, labels)
    for end in [*range(300), *range(len(content) - 80, len(content))]:
        with pytest.raises(UserError, match="not a plain CIFAR batch"):
            read_batch(content[:end], "x")


def test_random_damage_gives_only_user_errors():
    images, labels = random_set(1, 10)
    content = python_2_pickle(images, labels)
    header = content.index(images[0, 0, :4, 0].tobytes())
    random = np.random.RandomState(0)
    for _ in range(1500):
        damaged = bytearray(content)
        place_ = random.randint(0, header) if random.rand() < 0.7 else -random.randint(1, 80)
        damaged[place_] = random.randint(256)
        try:
            read_batch(bytes(damaged), "x")
        except UserError as error:
            assert "\n" not in str(error)


def test_python_batches_with_wrong_content(tmp_path):
    images, labels, files = cifar10_files("python3")
    good = {b"data": planes(images[:8]), b"labels": labels[:8].tolist()}
    cases = [
        (
            {**good, b"data": planes(images[:8]).astype(np.float32)},
            "not a plain CIFAR batch .an array of 'f4'",
        ),
        ({**good, b"data": planes(images[:8])[:, :100]}, r"no uint8 array 'data' of shape \[N, 3072\]"),
        ({**good, b"labels": [1] * 7}, "8 images and 7 labels"),
        ({**good, b"labels": [1.0] * 8}, "not a plain CIFAR batch .opcode BINFLOAT"),
        ({**good, b"labels": [10] * 8}, "labels 10 to 10, not 0 to 9"),
        ({b"data": good[b"data"]}, "no list of integers 'labels'"),
        ([1, 2], "it holds no dict"),
    ]
    for batch, message in cases:
        path = tmp_path / "cifar"
        path.mkdir(exist_ok=True)
        for name, content in files.items():
            (path / name).write_bytes(content)
        (path / "data_batch_3").write_bytes(pickle.dumps(batch, protocol=2))
        fails("cifar10", path, f"data_batch_3.*{message}|{message}")


def test_damaged_binary_files_are_named(tmp_path):
    _, _, files = cifar10_files("binary")
    path = place(files, "folder", tmp_path, "", "")
    fails("cifar100", path, "holds no cifar100 files; give cifar-100-binary.tar.gz or")
    (path / "data_batch_4.bin").write_bytes(files["data_batch_4.bin"][:-10])
    fails("cifar10", path, r"data_batch_4.bin has 24574 bytes, not a multiple of 3073 .*truncated")
    (path / "data_batch_4.bin").write_bytes(files["data_batch_4.bin"][:-3073])
    fails("cifar10", path, r"data_batch_4.bin does not hold as many images as data_batch_1.bin")
    (path / "data_batch_4.bin").write_bytes(b"\xff" * (3073 * PER_BATCH))
    fails("cifar10", path, r"data_batch_4.bin has labels 255 to 255, not 0 to 9")
    (path / "data_batch_4.bin").unlink()
    fails("cifar10", path, r"has data_batch_1.bin but no data_batch_4.bin")
    fails("cifar10", tmp_path / "absent", "which does not exist; give cifar-10-binary.tar.gz")


def test_damaged_archives_are_named(tmp_path):
    _, _, files = cifar10_files("binary")
    path = place(files, "archive", tmp_path, "cifar-10-batches-bin", "cifar-10-binary.tar.gz")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    fails("cifar10", path, "not a complete tar archive; download it again")
    for cut in (1, 8, 30):  # all images are there, but not the checksum or the end mark after them
        path.write_bytes(content[:-cut])
        fails("cifar10", path, "not a complete tar archive")
    path.write_bytes(content[:-8] + b"\0" + content[-7:])
    fails("cifar10", path, "not a complete tar archive")
    plain = gzip.decompress(content)
    path.write_bytes(plain)
    assert len(load(DataConfig(source="cifar10", path=str(path))).train) == 5 * PER_BATCH
    path.write_bytes(plain.rstrip(b"\0") + b"\0" * (-len(plain.rstrip(b"\0")) % 512))
    fails("cifar10", path, "ends before its end mark; it is truncated")
    path.write_bytes(b"not an archive")
    fails("cifar10", path, "not a complete tar archive")


def test_an_archive_writes_nothing_and_ignores_links(tmp_path, monkeypatch):
    _, _, files = cifar10_files("binary")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
        for name, content in files.items():
            info = tarfile.TarInfo(f"../../{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    assert len(load(DataConfig(source="cifar10", path=str(path))).train) == 40
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["evil.tar.gz", "work"]

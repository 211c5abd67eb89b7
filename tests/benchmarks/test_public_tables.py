"""NAS-Bench-Macro and Accel-NASBench: the public files against known values, and damaged files."""

import io
import json
import tarfile

import numpy as np
import pytest
from support.real_data import REAL_DATA
from support.tiny_text import write_text

from jdarts.benchmarks import load_accel_table, load_macro_table
from jdarts.cli import main
from jdarts.errors import UserError
from jdarts.genotypes import parse_architecture
from jdarts.genotypes.macro import MacroNetwork
from jdarts.spaces.mnasnet import read

MACRO = REAL_DATA / "benchmarks" / "nas-bench-macro_cifar10.json"
ACCEL = REAL_DATA / "benchmarks" / "accel-nasbench_jsons.tar.gz"

TINY_TEXT = ["--language_search.bptt", "6", "--language_search.units", "4"]
NETWORK = {"test_acc": [90.0, 91.0, 92.0], "mean_acc": 91.0, "std": 0.8, "params": 7, "flops": 9}
BLOCKS = {f"block{i}_{key}": value for i in range(7) for key, value in (("e", 4), ("k", 3), ("l", 1), ("se", False))}
PERFORMANCE = {f"latency_{d}": {"latency_mean": 2.0} for d in ("zcu102", "vck190")} | {
    f"throughput_{d}": {"throughput_mean": None} for d in ("a100", "3090", "tpuv2", "tpuv3", "zcu102", "vck190")
}


def training(top1=60.0, **blocks):
    metrics = {"val_top1": top1, "val_top5": 80.0, "train_time": 5.0}
    return {
        "architecture": BLOCKS | blocks,
        "metrics": metrics,
        "model_info": {"macs": 400.0, "params": 2.5},
        "platform_perf": PERFORMANCE,
    }


def archive(path, *contents):
    with tarfile.open(path, "w:gz") as file:
        for i, content in enumerate(contents):
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(f"result_{i}.json")
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.skipif(not MACRO.exists(), reason="NAS-Bench-Macro is not in ../shared/data")
def test_nas_bench_macro():
    table = load_macro_table(MACRO)
    assert len(table) == 6_561
    small, best = table.query("11111221"), table.best()
    assert (small["params"], small["flops"]) == (2_181_386, 65_012_224)
    assert (best.arch, best["params"], best["flops"]) == ("22212220", 1_985_514, 85_164_544)
    assert (round(best["mean_acc"], 3), round(best["std"], 3)) == (93.127, 0.253)
    accuracies = table.columns["mean_acc"]
    assert (round(np.mean(accuracies), 3), round(np.median(accuracies), 3)) == (90.247, 90.990)
    assert round(np.min(accuracies), 2) == 45.36
    seeds = np.stack([table.columns[f"test_acc_{seed}"] for seed in range(3)])
    np.testing.assert_allclose(seeds.mean(0), accuracies)
    np.testing.assert_allclose(seeds.std(0), table.columns["std"], atol=1e-9)
    for same in ("22212220", MacroNetwork("22212220"), parse_architecture("22212220")):
        assert table.test_accuracies(same) == {"benchmark_c10_accuracy": best["mean_acc"] / 100}
    with pytest.raises(UserError, match="is no network of NAS-Bench-Macro"):
        table.query(parse_architecture("PROXYLESS_MOBILE"))


@pytest.mark.skipif(not ACCEL.exists(), reason="Accel-NASBench is not in ../shared/data")
def test_accel_nasbench():
    table = load_accel_table(ACCEL)
    assert len(table) == 5_125, "5,138 trainings, 13 of them a second one"
    entry = table.query(read("r1_k3_e6 r2_k5_e4 r3_k3_e6 r3_k5_e6 r2_k5_e6 r2_k3_e1 r2_k3_e1"))
    assert entry["macs"] == 415.361072, "in millions; the same in both trainings"
    with tarfile.open(ACCEL) as file:
        trainings = [json.load(file.extractfile(member)) for member in file if member.isfile()]
    same = [t for t in trainings if t["architecture"] == trainings[0]["architecture"] or t is trainings[0]]
    first = table.query(table.architectures[0])
    assert first["val_top1"] == pytest.approx(np.mean([t["metrics"]["val_top1"] for t in same]))
    assert np.isnan(table.columns["throughput_tpuv3"]).sum() in range(1, 45)


def test_trainings_of_one_network_are_averaged(tmp_path):
    table = load_accel_table(
        archive(tmp_path / "a.tar.gz", training(60.0), training(50.0, block6_se=True), training(62.0))
    )
    assert table.columns["val_top1"].tolist() == [61.0, 50.0]
    assert table.regret(table.architectures[1]) == 11.0 and table.rank(table.architectures[1]) == 2
    assert np.isnan(table.query(table.architectures[0])["throughput_a100"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "no object of networks by code"),
        (b"{", "cannot read"),
        (b"\xff", "cannot read"),
        ({"123": NETWORK}, "'123' is no network of NAS-Bench-Macro"),
        ({"01201201": NETWORK | {"test_acc": [1.0]}}, "network 01201201: expected an object with the list test_acc"),
        (
            {"01201201": NETWORK | {"mean_acc": 101.0}},
            "01201201: mean_acc is 101; it must be",
        ),
        ({"01201201": NETWORK | {"flops": "9"}}, "flops is '9', which is not a number"),
        ({"01201201": {k: v for k, v in NETWORK.items() if k != "params"}}, "params is missing"),
    ],
)
def test_damaged_macro_files_are_told(tmp_path, content, message):
    path = tmp_path / "macro.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(UserError, match=message):
        load_macro_table(path)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ((), "holds no .json file"),
        ((b"{",), "cannot read"),
        ((b"[]",), "result_0.json: expected an object"),
        ((training() | {"architecture": {}},), "needs block0_e"),
        ((training(), training(block3_k=7)), "result_1.json: kernel of block 3 is 7; use one of"),
        ((training(top1=160.0),), "result_0.json: val_top1 is 160; it must be a number of 0 to 100"),
        ((training() | {"metrics": {}},), "metrics.val_top1 is missing"),
    ],
)
def test_damaged_accel_archives_are_told(tmp_path, contents, message):
    with pytest.raises(UserError, match=message):
        load_accel_table(archive(tmp_path / "accel.tar.gz", *contents))


def test_files_that_are_no_archive_are_told(tmp_path):
    (tmp_path / "text").write_text("no archive")
    good = archive(tmp_path / "good.tar.gz", training()).read_bytes()
    (tmp_path / "cut").write_bytes(good[: len(good) // 2])
    for name in ("text", "cut", "absent"):
        with pytest.raises(UserError, match="cannot read"):
            load_accel_table(tmp_path / name)
    with pytest.raises(UserError, match="cannot read"):
        load_macro_table(tmp_path / "absent")


@pytest.mark.parametrize(
    ("space", "table", "message"),
    [
        (["nasbench201"], "macro.json", "is for the space nasbench_macro; space.name is 'nasbench201'"),
        (["nasbench_macro"], "201.csv", "is for the space nasbench201; space.name is 'nasbench_macro'"),
        (["nasbench201", "--space.shared", "false"], "201.csv", "space.name is 'nasbench201', with space.shared false"),
        (["darts_rnn", "--search.weight_optimizer.momentum", "0", *TINY_TEXT], "201.csv", "space.name is 'darts_rnn'"),
    ],
)
def test_a_search_refuses_the_table_of_another_space(tmp_path, monkeypatch, capsys, space, table, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "macro.json").write_text(json.dumps({"01201201": NETWORK}))
    (tmp_path / "201.csv").write_text("arch,c10_test_200\n|none~0|+|none~0|none~1|+|none~0|none~1|none~2|,10.0\n")
    write_text(tmp_path / "words")
    source = "source='text', path='words'" if space[0] == "darts_rnn" else "source='synthetic:8x8x3:2:32'"
    (tmp_path / "c.py").write_text(
        "from jdarts.config import DataConfig, Experiment, SearchConfig\n"
        f"config = Experiment(data=DataConfig({source}), search=SearchConfig(epochs=1, batch_size=4))\n"
    )
    assert main(["search", "c.py", "--space.name", *space, "--search.benchmark_table", table]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error
    assert not (tmp_path / "runs").exists()

"""The probe: a backbone that sees the labels scores one, one that sees nothing scores chance, and training never notices."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from shared import checkpoint
from shared.data.shards import Shards, write_shards
from shared.engine.backbones import compare, loaded, pixels, rows
from shared.engine.launch import train
from shared.engine.probe import Probe, Scores, See, eyes
from shared.engine.session import Session

HERE = Session(torch.device("cpu"))
COLOURS = np.array([[20, 20, 20], [250, 30, 30], [30, 250, 30], [30, 30, 250]], np.uint8)
VIEW: Any = {"size": (64, 48), "stride": 16}


@pytest.fixture(scope="module")
def painted(tmp_path_factory) -> Path:
    """Ten pictures of 4 x 3 patches that are painted in the colours of their parts; nearer is brighter; two show one photo."""
    generator = np.random.default_rng(0)
    samples = []
    for number in range(10):
        seg = generator.integers(0, 4, (4, 3)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
        if number != 8:
            image = COLOURS[seg]
        samples.append((f"{number:03d}", {"image": png(image), "seg": seg, "depth": (1 + seg).astype(np.float32)}))
    folder = tmp_path_factory.mktemp("painted")
    write_shards(samples, folder, names={"seg": ["nobody", "a", "b", "c"]})
    return folder


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def nothing(image: Tensor) -> Tensor:
    """Features that are drawn, whatever there is to see."""
    seed = int(image.long().sum())
    return torch.randn(1, 16, 4, 3, generator=torch.Generator().manual_seed(seed))


def found(shards: Path, see: See, **options: Any) -> Scores:
    return Probe(shards, **{**VIEW, **options}).scores(see, HERE)[0]


def test_features_that_show_the_labels_score_one(painted):
    scores = found(painted, pixels(16), pictures=9)  # without the ninth
    assert {scores[name] for name in ("knn/seg_miou", "knn/seg_acc", "linear/seg_miou", "linear/seg_acc")} == {1.0}
    assert set(scores) == {"knn/seg_miou", "knn/seg_acc", "linear/seg_miou", "linear/seg_acc", "linear/depth_r2"}


def test_features_that_show_nothing_score_chance_and_depth_below_the_mean(painted):
    scores = found(painted, nothing, pictures=9)  # without the ninth
    assert all(scores[f"{reader}/seg_acc"] < 0.5 for reader in ("knn", "linear"))
    assert scores["linear/depth_r2"] < 0.2


def test_the_answers_that_do_not_look_are_the_majority_and_the_mean(small_shards):
    _, trivial = Probe(small_shards, **VIEW).scores(nothing, HERE)
    truth = np.concatenate([one.labels["seg"] for one in Probe(small_shards, **VIEW)._look(nothing, HERE, None)])
    often = np.bincount(truth).max() / len(truth)
    assert trivial["knn/seg_acc"] == trivial["linear/seg_acc"] == pytest.approx(often)
    assert trivial["linear/seg_miou"] == pytest.approx(often / len(np.unique(truth)))
    assert trivial["linear/depth_r2"] == 0
    assert 10 < trivial["linear/normal_deg"] < 60


def test_two_pictures_of_one_photo_are_one_photo(painted):
    """The ninth picture shows the photo of the one before, with other labels."""
    seen = list(Probe(painted, **VIEW)._look(nothing, HERE, None))
    photos = [one.photo for one in seen]
    assert photos[7] == photos[8]
    assert len(set(photos)) == 9


def test_the_same_patches_are_kept_always_and_no_more_than_asked_for(small_shards):
    some, again, all_of_them = (list(Probe(small_shards, **VIEW, patches=n)._look(nothing, HERE, None)) for n in (5, 5, 99))
    assert [len(one.features) for one in some] == [5] * 12
    assert [len(one.features) for one in all_of_them] == [12] * 12
    assert all(torch.equal(a.features, b.features) for a, b in zip(some, again))


def test_pictures_are_spread_over_the_shards(small_shards):
    assert Probe(small_shards, **VIEW, pictures=4).indices == [0, 3, 7, 11]
    assert Probe(small_shards, **VIEW, pictures=400).indices == list(range(12))


def test_shares_of_two_processes_are_what_one_sees(small_shards, pretrained):
    see, probe = eyes(loaded(pretrained)[0]), Probe(small_shards, **VIEW)
    shares = [one for rank in (0, 1) for one in probe._look(see, Session(torch.device("cpu"), rank, 2), None)]
    for one, other in zip(probe._look(see, HERE, None), sorted(shares, key=lambda one: one.index), strict=True):
        assert torch.equal(one.features, other.features)


@pytest.fixture(scope="module")
def watched(tiny, small_shards, tmp_path_factory) -> Path:
    """The folder of a pretraining of four iterations that was probed after two and at the end."""
    probe = f"probe={{'shards': '{small_shards}', 'every': 2, 'patches': 8}}"
    return train(tiny("pretrain", tmp_path_factory.mktemp("watched") / "mae", probe, *WATCHED)).parent


WATCHED = ("iters=5", "val_every=1", "ema=0.5", "backbone.drop_path=0.5", "save_every=3")


def test_training_does_not_notice(tiny, watched, tmp_path):
    plain = load_file(train(tiny("pretrain", tmp_path / "mae", *WATCHED)))
    seen = load_file(watched / "model.safetensors")
    assert all(torch.equal(plain[name], seen[name]) for name in plain)


def test_scores_stand_in_a_file_on_the_curves_and_in_the_checkpoint(watched):
    lines = [json.loads(line) for line in (watched / "probe.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [2, 4, 5]
    last = lines[-1]["scores"]
    assert set(last) == {
        *(f"{r}/seg_{s}" for r in ("knn", "linear") for s in ("miou", "acc")),
        "linear/depth_r2",
        "linear/normal_deg",
    }
    assert set(lines[-1]["not looking"]) == set(last)
    events = EventAccumulator(str(watched))
    events.Reload()
    assert [event.step for event in events.Scalars("val/knn/seg_miou")] == [2, 4, 5]
    about = checkpoint.load(watched / "model.safetensors").about
    assert about["scores"] == {"iteration": 5, **last}


def test_the_scores_are_those_of_the_weights_that_are_kept(watched, small_shards):
    """The averaged ones: a probe of the file says what the run said."""
    told = json.loads((watched / "probe.jsonl").read_text().splitlines()[-1])["scores"]
    assert found(small_shards, eyes(loaded(watched / "model.safetensors")[0]), patches=8, framing="whole") == told


def test_a_run_that_goes_on_keeps_earlier_lines_and_writes_none_twice(tiny, watched, small_shards, tmp_path):
    folder = Path(shutil.copytree(watched, tmp_path / "mae"))
    for path in (folder / "iter_5.pth", folder / "model.safetensors"):
        path.unlink()
    before = (folder / "probe.jsonl").read_text()
    probe = f"probe={{'shards': '{small_shards}', 'every': 4, 'patches': 8}}"  # another probe is no other run
    train(tiny("pretrain", folder, probe, *WATCHED))
    assert (folder / "probe.jsonl").read_text() == before


class Modes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.frozen = nn.Dropout(0.5), nn.Dropout(0.5).eval()
        self.normalise = nn.Identity()

    def backbone(self, image: Tensor) -> Tensor:
        assert not self.inner.training
        return nothing(image)


def test_each_part_is_afterwards_in_the_mode_that_it_was_in(small_shards, tmp_path):
    model = Modes()
    state = torch.get_rng_state()
    Probe(small_shards, **VIEW).at(1, 9, model=model, here=HERE, dtype=None, folder=tmp_path)
    assert (model.training, model.inner.training, model.frozen.training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"shards": "x", "evry": 2}, "no probe; give {'shards': ...}, and of every, pictures, patches"),
        ({"every": 2}, "no probe"),
        ({"shards": "x", "every": 3}, "every=3 is no multiple of val_every=2"),
        ({"shards": "x", "every": 0}, "every=0 is no multiple"),
    ],
)
def test_settings_that_cannot_be_are_sentences(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Probe.of(settings, val_every=2, **VIEW)
    assert Probe.of(None, val_every=2, **VIEW) is None


def test_a_label_that_few_photos_have_is_scored_on_those(tmp_path):
    """The first and the sixth, which would be of one fold among all."""
    samples = []
    for number in range(6):
        seg = ((np.arange(12) + number) % 4).reshape(4, 3).repeat(16, 0).repeat(16, 1).astype(np.uint8)
        depth = {"depth": (1 + seg).astype(np.float32)} if number in (0, 5) else {}
        samples.append((str(number), {"image": png(COLOURS[seg]), "seg": seg, **depth}))
    write_shards(samples, tmp_path, names={"seg": ["nobody", "a", "b", "c"]})
    assert found(tmp_path, pixels(16))["linear/depth_r2"] > 0.5


def test_features_that_are_not_finite_are_told_and_score_nothing(small_shards, tmp_path, caplog):
    probe = Probe(small_shards, **VIEW)
    assert probe.scores(lambda image: nothing(image) / 0, HERE) == ({}, {})
    assert "the features are not finite" in caplog.text


def test_what_cannot_be_looked_at_is_a_sentence(small_shards, tmp_path):
    with pytest.raises(ValueError, match="0 pictures"):
        Probe(small_shards, **VIEW, pictures=0)
    with pytest.raises(ValueError, match=r"65 x 48 are no multiple of the backbone's stride \(16\)"):
        Probe(small_shards, size=(65, 48), stride=16)
    write_shards([(key, {"image": png(np.zeros((8, 8, 3), np.uint8))}) for key in ("a", "b")], tmp_path)
    with pytest.raises(ValueError, match="hold none of seg, depth, normal"):
        Probe(tmp_path, **VIEW)


def test_a_table_has_the_checkpoint_its_random_twin_raw_pixels_and_not_looking(
    pretrained, small_shards, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "scores.json"
    command = ["probe.py", str(pretrained), "--shards", str(small_shards), "--device", "cpu", "--json", str(out), "--size", "64x48"]
    monkeypatch.setattr("sys.argv", command)
    compare()
    lines = capsys.readouterr().out.splitlines()
    assert [line[:24].strip() for line in lines] == ["", "model.safetensors", "random weights", "raw pixels", "not looking"]
    told = json.loads(out.read_text())
    assert told["model.safetensors"] == found(small_shards, eyes(loaded(pretrained)[0]))
    assert told["random weights"] != told["model.safetensors"]
    for wrong, sentence in (("64", "--size: '64' must be height x width"), ("64x50", "no multiple of the backbone's stride")):
        monkeypatch.setattr("sys.argv", [*command[:-1], wrong])
        with pytest.raises(SystemExit) as left:
            compare()
        assert left.value.code == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.slow
def test_a_masked_autoencoder_knows_more_than_random_weights(tiny, small_shards, tmp_path):
    """400 steps on the twelve people themselves, without their labels."""
    settings = ("iters=400", "batch=12", "backbone.patch=8", "optimizer=muon", "lr=3e-3", "warmup=20")
    weights = train(tiny("pretrain", tmp_path / "mae", *settings))
    scores = rows(weights, small_shards, HERE)
    learnt, random = scores["model.safetensors"], scores["random weights"]
    assert learnt["knn/seg_acc"] > random["knn/seg_acc"] + 0.02, scores
    assert learnt["knn/seg_miou"] > 1.1 * random["knn/seg_miou"], scores


def test_shards_of_people_are_what_the_probe_expects(small_shards):
    assert Probe(small_shards, **VIEW).classes == len(Shards(small_shards).names["seg"])

"""A run of MMSpeech on real speech: its three phases, and stops in all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from m2asr.bin import phones, tokens
from m2asr.config import load_config
from m2asr.data.directory import read_table
from m2asr.errors import UserError
from m2asr.objectives.build import resolve
from m2asr.train.materials import gather
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.conftest import ROOT

CONFIG = ROOT / "egs/mini/conf/train_mmspeech.yaml"
PARTS = ("streams.pairs", "streams.raw", "streams.texts", "tokens.chars", "tokens.ph", "tokens.codes")
SETS = [f"{part}.sets=[dev_en]" for part in PARTS]
SMALL = [*SETS, "streams.pairs.dev=[dev_en]", "streams.texts.dev=[dev_en]", "streams.pairs.speeds=[1.0]", "tokens.codes.size=40",
         "model.encoder.dim=32", "model.encoder.heads=2", "model.writer.dim=32", "model.writer.heads=2", "batching.seconds=64",
         "train.hours=0.14", "train.precision=float32", "train.workers=0", "train.save_every=1", "train.log_every=1",
         "objectives.msp.teacher=ema", "objectives.msp.decay=0.9"]  # fmt: skip


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def data(mini_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set dev_en, an eighth of train_en, with phones and codes, here a code for every second letter."""
    folder = tmp_path_factory.mktemp("mmspeech") / "data"
    shutil.copytree(mini_data / "dev_en", folder / "dev_en")
    rows = read_table(folder / "dev_en/text").items()
    codes = (" ".join(f"c{ord(letter) % 19:02d}" for letter in text[::2]) for _, text in rows)
    (folder / "dev_en/text.codes").write_text("".join(f"{utt} {line}\n" for (utt, _), line in zip(rows, codes, strict=True)))
    assert phones.main([str(folder / "dev_en")]) == 0
    assert tokens.main(["--config", str(CONFIG), "--set", *SMALL, "--data", str(folder), "--out", str(folder.parent / "tokens")]) == 0
    return folder


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            ["streams.pairs.sets=[untold]"],
            r"objectives.s2t: no utterance of stream pairs \(untold\) has a `text`; there is nothing to learn from",
        ),
        (["streams.texts.sets=[silent]"], r"objectives.p2t: no utterance of stream texts \(silent\) has a `text.phones`"),
        (["streams.raw.sets=[silent]"], r"objectives.s2c: no utterance of stream raw \(silent\) has a `text.codes`"),
        (["objectives.s2c.tokens=ph"], "objectives.s2c.tokens: model.writer joins chars, codes, not ph; add it to `joined`"),
        (["objectives.p2t.view.start=4"], "objectives.p2t.view.start: the encoder has 4 blocks; give a number from 0 to 3"),
        (["objectives.p2t.view.embed=hidden"], "objectives.p2t.view.embed: model.hidden has the type mask_vector"),
        (["objectives.msp.teacher=frozen"], "objectives.msp: teacher: Input should be 'same' or 'ema', got 'frozen'"),
    ],
)
def test_mistakes_are_one_line(data: Path, mini_dump: Path, tmp_path: Path, changes: list[str], told: str) -> None:
    """Of sets `untold` has only recordings, and `silent` only those and texts."""
    folder, dump = tmp_path / "data", tmp_path / "dump"
    for name, tables in (("untold", ()), ("silent", ("text",))):
        (folder / name).mkdir(parents=True)
        for table in ("wav.scp", "utt2spk", "spk2utt", "utt2lang", "utt2dur", *tables):
            shutil.copy(data / "dev_en" / table, folder / name / table)
    dump.mkdir()
    for name in ("dev_en", "untold", "silent"):
        (dump / name).symlink_to(mini_dump / "dev_en")
    (folder / "dev_en").symlink_to(data / "dev_en")
    with pytest.raises(UserError, match=told):
        make(folder, dump, tmp_path / "exp", data.parent / "tokens", changes)


def make(data: Path, dump: Path, exp: Path, tokenizers: Path | None = None, changes: Sequence[str] = ()) -> Trainer:
    exp.mkdir(exist_ok=True)
    if not (exp / "tokens").exists():
        (exp / "tokens").symlink_to(tokenizers or data.parent / "tokens")
    config = resolve(load_config(TrainConfig, CONFIG, [*SMALL, *changes]))
    return Trainer(config, gather(config, data, dump, exp), exp)


def test_three_phases_stopped_anywhere_end_the_same(data: Path, mini_dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(data, mini_dump, tmp_path / "a")
    trainer.run()
    lines = [json.loads(line) for line in (tmp_path / "a/train.jsonl").read_text().splitlines()]
    trained = {line["phase"]: set(line["loss"]) for line in lines if line["kind"] == "train"}
    assert trained == {"texts": {"p2t"}, "joint": {"s2t", "pp", "p2t", "s2c", "msp"}, "finetune": {"s2t", "pp", "p2t"}}
    spent = [span.audio_seconds / trainer.audio_seconds for span in trainer.spans]
    assert spent == pytest.approx([0.1, 0.6, 0.3], abs=0.12)

    original, before = Trainer.save, 0

    def save(self: Trainer) -> None:
        original(self)
        if self.number >= before + 2:
            raise Stopped

    monkeypatch.setattr(Trainer, "save", save)
    phases = set()
    while True:
        again = make(data, mini_dump, tmp_path / "b")
        before = again.number if again.resume() else 0
        phases.add(again.span.main.name)
        try:
            again.run()
            break
        except Stopped:
            pass
    assert phases == {"texts", "joint", "finetune"}
    expected, found = (torch.load(tmp_path / name / "model.pt", weights_only=True)["model"] for name in "ab")
    assert any(name.startswith("objectives.msp.average.encoder.") for name in expected)
    assert expected.keys() == found.keys() and all(torch.equal(value, found[name]) for name, value in expected.items())


def test_the_mean_starts_with_its_phase_and_follows_it(data: Path, mini_dump: Path, tmp_path: Path) -> None:
    """During the phase of texts it waits; then it takes over what this phase has trained."""
    trainer = make(data, mini_dump, tmp_path / "exp")
    average, encoder = trainer.system.objectives["msp"].average, trainer.system.encoder

    def distance() -> float:
        pairs = zip(average.encoder.state_dict().values(), encoder.state_dict().values(), strict=True)
        return float(torch.stack([(mean - value).norm() for mean, value in pairs]).norm())

    distances = {}
    original = trainer._begin

    def begin() -> None:
        before = distance()
        original()
        distances[trainer.span.main.name] = before, distance()

    trainer._begin = begin
    trainer.run()
    assert distances["texts"][1] == 0 and distances["joint"][0] > 0 and distances["joint"][1] == 0 and distances["finetune"][1] > 0

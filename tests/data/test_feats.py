"""Features computed while training: equal to the stored ones at speed 1, stretched by speed perturbation, read from segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2asr.config import FbankConfig
from m2asr.data.extract import extract
from m2asr.data.feats import AudioFeats, StoredFeats, dump_of
from m2asr.data.index import UtteranceIndex
from m2asr.data.sources import Source
from m2asr.data.streams import eval_batches
from m2asr.errors import UserError
from m2asr.features.fbank import Fbank
from tests.data.sets import write_lines


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A data directory of noise, 1 to 3 seconds, in WAV."""
    data = tmp_path / "data" / "noise"
    data.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(3):
        soundfile.write(data / f"{i}.wav", rng.normal(scale=0.1, size=16000 * (i + 1)), 16000, subtype="FLOAT")
    for file, value in {"wav.scp": f"{data}/%d.wav", "utt2dur": "%d.000", "utt2spk": "spk", "utt2lang": "en"}.items():
        write_lines(data / file, [f"spk-{i} " + (value.replace("%d", str(i + 1 if file == "utt2dur" else i))) for i in range(3)])
    return data


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_equal_to_fbank_of_the_file(recordings: Path) -> None:
    index = UtteranceIndex(recordings)
    feats = AudioFeats(FbankConfig())
    for i in range(3):
        wave, _ = soundfile.read(recordings / f"{i}.wav", dtype="float32")
        assert np.array_equal(feats(index, i, rng()), Fbank()(wave))


def test_speeds_stretch_and_are_drawn_by_the_given_numbers(recordings: Path) -> None:
    index = UtteranceIndex(recordings)
    feats = AudioFeats(FbankConfig(), [0.9, 1.0, 1.1])
    drawn = [len(feats(index, 2, np.random.default_rng(seed))) for seed in range(40)]
    for speed in (0.9, 1.0, 1.1):
        assert any(abs(frames - 298 / speed) < 4 for frames in drawn)
    assert drawn == [len(feats(index, 2, np.random.default_rng(seed))) for seed in range(40)]


@pytest.mark.parametrize("shift", [5.0, 10.0, 20.0])
@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_frames_are_foretold_at_every_speed_and_shift(recordings: Path, speed: float, shift: float) -> None:
    feats = AudioFeats(FbankConfig(frame_shift=shift), [speed])
    source = Source("noise", [UtteranceIndex(recordings)], frame_shift=shift / 1000, feats=feats)
    batch, _ = source.load([0, 1, 2], (1, "noise", 0, 0))
    assert source.frames_at(speed).tolist() == batch.lengths["feats"].tolist() == source.frames.tolist()


@pytest.mark.parametrize("shift", [5.0, 10.0, 20.0])
def test_batches_fit_the_slowest_speed(recordings: Path, shift: float) -> None:
    """Of 3, 2 and 1 s, at 0.9 of the speed; two of them fit into 7 s."""
    feats = AudioFeats(FbankConfig(frame_shift=shift), [1.1, 0.9])
    source = Source("noise", [UtteranceIndex(recordings)], frame_shift=shift / 1000, feats=feats)
    batches = list(eval_batches(source, 7.0))
    assert list(map(len, batches)) == [2, 1]
    assert all(batch.lengths["feats"].numpy().max() * len(batch) * shift / 1000 <= 7 for batch in batches)


def test_segments_are_cut_out(recordings: Path) -> None:
    write_lines(recordings / "segments", ["spk-0-a spk-2 0.50 1.50", "spk-0-b spk-2 2.00 3.00", "spk-1-a spk-1 0.00 2.00"])
    for file, value in {"utt2spk": "spk", "utt2lang": "en"}.items():
        write_lines(recordings / file, [f"{utt} {value}" for utt in ("spk-0-a", "spk-0-b", "spk-1-a")])
    write_lines(recordings / "utt2dur", ["spk-0-a 1.0", "spk-0-b 1.0", "spk-1-a 2.0"])
    index = UtteranceIndex(recordings)
    long, _ = soundfile.read(recordings / "2.wav", dtype="float32")
    assert np.array_equal(index.audio(0)[0], long[8000:24000])
    assert np.array_equal(index.audio(1)[0], long[32000:48000])
    assert len(index.audio(2)[0]) == 32000
    write_lines(recordings / "segments", ["spk-0-a spk-2 0.50 1.50", "spk-0-b spk-9 2.00 3.00", "spk-1-a spk-1 0.00 2.00"])
    with pytest.raises(UserError, match="segments:2: recording `spk-9` is not in"):
        UtteranceIndex(recordings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wav.scp": "spk-0 echo hello |"}, "only with --allow_pipes"),
        ({"wav.scp": "spk-0 nowhere.wav"}, "nowhere.wav: .*No such file"),
        ({"utt2dur": "spk-0 1.500"}, "1.00 s of audio, utt2dur says 1.50 s"),
    ],
)
def test_bad_recordings_are_named(recordings: Path, change: dict[str, str], message: str) -> None:
    for file, line in change.items():
        write_lines(recordings / file, [line, *(recordings / file).read_text().splitlines()[1:]])
    source = Source("noise", [UtteranceIndex(recordings)], feats=AudioFeats(FbankConfig()))
    batch, messages = source.load([0, 1], (1, "noise", 0, 0))
    assert batch.utt_ids == ["spk-1"]
    assert len(messages) == 1
    with pytest.raises(UserError, match=f"set noise, utterance spk-0: .*{message}"):
        list(eval_batches(source, 5.0))


def test_a_higher_sample_rate_is_lowered_and_a_lower_one_refused(recordings: Path) -> None:
    index = UtteranceIndex(recordings)
    assert len(AudioFeats(FbankConfig(sample_rate=8000))(index, 0, rng())) == 98
    with pytest.raises(UserError, match="16000 Hz is below the 22050 Hz of the features"):
        AudioFeats(FbankConfig(sample_rate=22050))(index, 0, rng())


def test_stored_speeds_are_those_of_the_recording_played_so(recordings: Path, tmp_path: Path) -> None:
    """Drawn as from the recording, and equal to it."""
    config, data, dump = FbankConfig(), recordings, tmp_path / "dump"
    speeds = [0.9, 1.0, 1.1]
    for speed in speeds:
        extract(data, dump_of(dump, data.name, speed), config.model_copy(update={"speed": speed}), jobs=1)
    indexes = {speed: UtteranceIndex(data, dump_of(dump, data.name, speed)) for speed in speeds}
    stored = StoredFeats(speeds, {speed: {data.name: indexes[speed]} for speed in (0.9, 1.1)})
    computed, recorded = AudioFeats(config, speeds), UtteranceIndex(data)
    drawn = set()
    for seed in range(12):
        ours, theirs = stored(indexes[1.0], 2, np.random.default_rng(seed)), computed(recorded, 2, np.random.default_rng(seed))
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
        drawn.add(len(ours))
        for speed in speeds:
            assert np.abs(stored.frames(indexes[1.0].frames, speed) - indexes[speed].frames).max() <= 1
    assert len(drawn) == 3


def test_folders_of_speeds() -> None:
    assert [dump_of(Path("dump"), "train_en", speed).name for speed in (1.0, 0.9, 1.1)] == ["train_en", "train_en_sp0.9", "train_en_sp1.1"]

"""StepLoader: steps are the same for any number of workers and after resuming; streams cycle; bad utterances are named."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from m2asr.data.batch import Batch, pad
from m2asr.data.index import UtteranceIndex
from m2asr.data.sources import Source
from m2asr.data.streams import Step, StepLoader, eval_batches
from m2asr.errors import UserError
from m2asr.train_config import Batching
from tests.data.sets import write_set
from tests.objectives import build


class Letters:
    """A tokenizer of single letters, so that no training is needed here."""

    digest = "letters"

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Source]:
    rng = np.random.default_rng(0)
    sizes = {"train_en": 40, "train_it": 25, "train_ru": 10}
    indexes = {}
    for name, count in sizes.items():
        texts = {"text": [f"t{i}" for i in range(count)], "text.en": [None if i % 3 else f"Hi {i}" for i in range(count)]}
        lang = name.removeprefix("train_")
        indexes[name] = UtteranceIndex(*write_set(tmp_path, name, rng.integers(20, 120, count).tolist(), lang=lang, texts=texts))
    by_name = {name: Source(name, [indexes[f"train_{name}"]], [("x", "text", Letters())]) for name in ("en", "it", "ru")}
    return by_name | {"raw": Source("raw", list(indexes.values()), [("x", "text.en", Letters())])}


def loader(sources: dict[str, Source], **options: object) -> StepLoader:
    batching = Batching(seconds=16.0, buckets=4, language_temperature=2.0, shares={"raw": 2.0})
    return StepLoader(sources, batching, **{"epoch_of": "en", "draws": {"en": 2, "it": 2, "ru": 2}, "accumulation": 2, **options})


def take(steps: Iterable[Step], count: int) -> list[Step]:
    return list(itertools.islice(steps, count))


def batches(step: Step) -> list[Batch]:
    return [batch for draws in step.batches.values() for draw in draws for batch in draw]


def assert_equal(first: list[Step], second: list[Step]) -> None:
    assert len(first) == len(second)
    for step, expected in zip(first, second, strict=True):
        assert (step.epoch, step.index, list(step.batches)) == (expected.epoch, expected.index, list(expected.batches))
        for a, b in zip(batches(step), batches(expected), strict=True):
            assert (a.key, a.utt_ids, a.lang, a.speakers) == (b.key, b.utt_ids, b.lang, b.speakers)
            for name in ("inputs", "lengths", "targets", "target_lengths"):
                tensors, expected_tensors = getattr(a, name), getattr(b, name)
                assert tensors.keys() == expected_tensors.keys()
                assert all(torch.equal(tensors[key], expected_tensors[key]) for key in tensors)


def test_the_shape_of_a_step(sources: dict[str, Source]) -> None:
    loaded = loader(sources)
    step = next(iter(loaded))
    assert (step.epoch, step.index) == (0, 0)
    assert list(step.batches) == list(sources)
    assert {name: len(draws) for name, draws in step.batches.items()} == {"en": 2, "it": 2, "ru": 2, "raw": 1}
    assert all(len(draw) == 2 for draws in step.batches.values() for draw in draws)
    assert [list(draw) for draw in step.draws()] == [["en", "it", "ru", "raw"], ["en", "it", "ru"]]
    keys = [batch.key for batch in batches(step)]
    assert len(set(keys)) == len(keys) == 14
    for batch in batches(step):
        share = 4 if batch.key[1] == "raw" else 1  # twice the speech, one draw
        assert batch.inputs["feats"].shape[:2].numel() * 0.01 <= 16.0 * share / 5 / 4 or len(batch) == 1
        assert batch.seconds == pytest.approx(float(batch.lengths["feats"].sum()) / 100)
    assert loaded.wait_seconds > 0


def test_padding_and_targets(sources: dict[str, Source]) -> None:
    raw = sources["raw"]
    batch, bad = raw.load([0, 41, 70], (1, "raw", 0, 0))
    assert not bad
    assert batch.lang == ["en", "it", "ru"]
    assert batch.speakers[1].startswith("train_it-spk")
    lengths = batch.lengths["feats"].tolist()
    assert lengths == raw.index.frames[[0, 41, 70]].tolist()
    for b, (number, length) in enumerate(zip([0, 41, 70], lengths, strict=True)):
        index, i = raw.index.find(number)
        assert np.array_equal(batch.inputs["feats"][b, :length].numpy(), index.feats(i))
        assert not batch.inputs["feats"][b, length:].any()
        text = index.text(i, "text.en")
        assert batch.target_lengths["x:text.en"][b] == (-1 if text is None else len(text))
        if text is not None:
            assert batch.targets["x:text.en"][b, : len(text)].tolist() == [ord(letter) for letter in text]
    assert batch.target_lengths["x:text.en"].tolist().count(-1) == 2


def test_an_utterance_drawn_twice_is_there_twice(sources: dict[str, Source]) -> None:
    batch, _ = sources["ru"].load([3, 3, 5], (1, "ru", 0, 0))
    assert batch.utt_ids[0] == batch.utt_ids[1] != batch.utt_ids[2]


def test_reading_takes_nothing_from_the_global_random_numbers(sources: dict[str, Source]) -> None:
    before = torch.get_rng_state()
    take(loader(sources), 3)
    list(eval_batches(sources["ru"], 5.0))
    assert torch.equal(before, torch.get_rng_state())


def test_a_batch_without_any_target_has_no_width(sources: dict[str, Source]) -> None:
    batch, _ = sources["raw"].load([1, 2], (1, "raw", 0, 0))
    assert batch.targets["x:text.en"].shape == (2, 0)
    assert batch.target_lengths["x:text.en"].tolist() == [-1, -1]


def test_an_epoch_reads_every_utterance_of_its_stream_once_and_others_cycle(sources: dict[str, Source]) -> None:
    loaded = loader(sources)
    steps = loaded.steps_per_epoch(0)
    taken = take(loaded, steps + 1)
    assert [step.index for step in taken] == [*range(steps), 0]
    assert [step.epoch for step in taken] == [0] * steps + [1]
    english = [utt for step in taken[:-1] for batch in batches(step) if batch.key[1] == "en" for utt in batch.utt_ids]
    assert len(english) == len(set(english)) == 40
    russian = {batch.key for step in taken for batch in batches(step) if batch.key[1] == "ru"}
    assert {epoch for _, _, epoch, _ in russian} >= {0, 1}
    assert len(russian) == 4 * len(taken)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_read_together_what_one_reads(sources: dict[str, Source], world: int) -> None:
    """The same utterances in every step, stream and draw, and about as much each."""
    alone = take(loader(sources), 8)
    shares = [take(loader(sources, rank=rank, world=world), 8) for rank in range(world)]
    seconds = [0.0] * world
    for number, step in enumerate(alone):
        for name, draws in step.batches.items():
            for draw, micro_batches in enumerate(draws):
                pieces = [batch for share in shares for batch in share[number].batches[name][draw]]
                expected = sorted(utt for batch in micro_batches for utt in batch.utt_ids)
                assert sorted(utt for batch in pieces for utt in batch.utt_ids) == expected
        for rank, share in enumerate(shares):
            seconds[rank] += sum(batch.seconds for batch in batches(share[number]))
    assert max(seconds) < 1.25 * sum(seconds) / world


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(sources: dict[str, Source], workers: int) -> None:
    assert_equal(take(loader(sources), 12), take(loader(sources, workers=workers), 12))


def test_batches_are_prepared_where_they_are_read(sources: dict[str, Source]) -> None:
    """Masks, windows, negatives and weights are drawn by a worker as they would be here, whatever it has drawn before."""
    objectives = {
        "masked": {"type": "ctc", "stream": "x", "tokens": "a", "view": {"mask": {"probability": 0.2, "length": 2}}},
        "cpc": {"type": "cpc", "stream": "raw", "context": 0.1, "future": 0.1, "encoding": "causal", "windows": 2},
    }
    system, reads = build.system(objectives=objectives), []
    system.objectives["masked"].target = "x:text"

    def prepare(stream: str, batch: Batch) -> Batch:
        reads.append(stream)
        return system.prepare(batch, ["cpc" if stream == "raw" else "masked"])

    in_process = take(loader(sources, prepare=prepare), 4)
    count = len(reads)
    in_workers = take(loader(sources, prepare=prepare, workers=2), 4)
    assert_equal(in_process, in_workers)
    assert count == 4 * 14 and len(reads) == count  # the workers called it in their own processes
    pairs = [pair for steps in zip(in_process, in_workers, strict=True) for pair in zip(*map(batches, steps), strict=True)]
    assert len(pairs) == count and sum(batch.shares.keys() == {"cpc"} for batch, _ in pairs) == 8
    for batch_here, batch_there in pairs:
        assert batch_here.shares.keys() == batch_there.shares.keys() and batch_here.drawn.keys() == batch_there.drawn.keys()
        prepared = [[*batch.shares.values(), *batch.drawn.values()] for batch in (batch_here, batch_there)]
        for left, right in zip(*prepared, strict=True):
            assert left.tensors.keys() == right.tensors.keys()
            assert all(torch.equal(left.tensors[name], right.tensors[name]) for name in left.tensors)
        assert [share.weight for share in batch_here.shares.values()] == [share.weight for share in batch_there.shares.values()]
    assert sum(share.weight for batch, _ in pairs for share in batch.shares.values()) > 100


@pytest.mark.parametrize("workers", [0, 1])
def test_resuming_changes_nothing(sources: dict[str, Source], workers: int) -> None:
    expected = take(loader(sources), 15)
    for stop in (1, 4, 9):
        first = loader(sources, workers=workers)
        assert_equal(expected[:stop], take(first, stop))
        second = loader(sources, workers=workers)
        second.load_state_dict(first.state_dict())
        assert_equal(expected[stop:], take(second, 15 - stop))


def test_another_number_of_processes_goes_on_at_the_same_step(sources: dict[str, Source]) -> None:
    alone, expected = loader(sources), take(loader(sources), 6)
    take(alone, 3)
    shares = []
    for rank in range(2):
        shares.append(loader(sources, rank=rank, world=2))
        shares[rank].load_state_dict(alone.state_dict())
    steps = [take(share, 3) for share in shares]
    for number, step in enumerate(expected[3:]):
        read = [utt for mine in steps for batch in batches(mine[number]) for utt in batch.utt_ids]
        assert sorted(read) == sorted(utt for batch in batches(step) for utt in batch.utt_ids)
    assert shares[0].state_dict() == shares[1].state_dict()


def test_position_names_the_next_step(sources: dict[str, Source]) -> None:
    loaded = loader(sources)
    steps = loaded.steps_per_epoch()
    take(loaded, steps)
    state = loaded.state_dict()
    assert (state["epoch"], state["index"]) == (1, 0)
    assert state["streams"]["en"] == [1, 0]


def test_state_of_other_streams_is_refused(sources: dict[str, Source]) -> None:
    state = loader(sources).state_dict()
    with pytest.raises(UserError, match="streams en, it, ru, raw; the config has en"):
        loader({"en": sources["en"]}).load_state_dict(state)


def test_token_cost_limits_batches(sources: dict[str, Source]) -> None:
    assert sources["en"].token_counts().tolist() == [len(sources["en"].index.indexes[0].text(i)) for i in range(40)]
    plain = StepLoader(sources, Batching(seconds=16.0), epoch_of="en")
    costly = StepLoader(sources, Batching(seconds=16.0, cost="frames_tokens", token_frames=60.0), epoch_of="en")
    assert costly.steps_per_epoch() > 1.5 * plain.steps_per_epoch()


@pytest.fixture
def damaged(sources: dict[str, Source]) -> dict[str, Source]:
    index = sources["ru"].index.indexes[0]
    scp = index.dump_dir / "feats.scp"
    lines = scp.read_text().splitlines(keepends=True)
    scp.write_text("".join(line.replace("feats.1.ark", "lost.ark") if "0004" in line else line for line in lines))
    return {"ru": Source("ru", [UtteranceIndex(index.data_dir, index.dump_dir)], [("x", "text", Letters())])}


def test_features_that_are_not_finite_are_bad(sources: dict[str, Source]) -> None:
    ark = sources["ru"].index.indexes[0].dump_dir / "feats.1.ark"
    ark.write_bytes(ark.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    batch, messages = sources["ru"].load([8, 9], (1, "ru", 0, 0))
    assert len(batch) == 1
    assert messages[0].startswith("set train_ru, utterance train_ru-spk2-0008: its features are not finite")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_utterance_ends_training_with_its_name(damaged: dict[str, Source], workers: int) -> None:
    with pytest.raises(UserError, match=r"set train_ru, utterance train_ru-spk1-0004: .*lost\.ark.*train\.max_bad allows 0") as error:
        take(loader(damaged, epoch_of="ru", workers=workers), 20)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_utterance_is_skipped_named_and_counted_once(damaged: dict[str, Source], workers: int, capfd: pytest.CaptureFixture) -> None:
    loaded = loader(damaged, epoch_of="ru", max_bad=1, workers=workers)
    taken = take(loaded, 3 * loaded.steps_per_epoch())
    assert all(len(batch) > 0 and "train_ru-spk1-0004" not in batch.utt_ids for step in taken for batch in batches(step))
    assert capfd.readouterr().err.count("train_ru-spk1-0004") == 1
    assert len(loaded.state_dict()["bad"]) == 1


def test_a_batch_of_bad_utterances_takes_the_next_good_one(damaged: dict[str, Source]) -> None:
    bad = next(i for i in range(10) if damaged["ru"].index.indexes[0].utt_ids(i).endswith("0004"))
    batch, messages = damaged["ru"].load([bad], (1, "ru", 0, 0))
    assert len(batch) == len(messages) == 1
    batch, messages = damaged["ru"].load([bad], (1, "ru", 0, 0), refill=False)
    assert batch is None
    assert len(messages) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_eval_batches_hold_every_utterance_once(sources: dict[str, Source], workers: int) -> None:
    dev_batches = list(eval_batches(sources["raw"], 5.0, workers=workers))
    utts = [utt for batch in dev_batches for utt in batch.utt_ids]
    assert len(utts) == len(set(utts)) == 75
    assert all(batch.inputs["feats"].shape[:2].numel() <= 500 for batch in dev_batches)
    by_rank = [[utt for batch in eval_batches(sources["raw"], 5.0, rank=rank, world=2) for utt in batch.utt_ids] for rank in range(2)]
    assert sorted(by_rank[0] + by_rank[1]) == sorted(utts)


@pytest.mark.parametrize("batching", [{}, {"cost": "frames_tokens", "token_frames": 20.0}])
def test_dev_batches_cost_no_more_than_the_largest_micro_batch(sources: dict[str, Source], batching: dict) -> None:
    """Of 16 s per step `raw` gets two fifths, in two micro-batches; the others less."""
    batching = Batching(seconds=16.0, buckets=4, shares={"raw": 2.0}, **batching)
    loaded = StepLoader(sources, batching, epoch_of="en", draws={"en": 2, "it": 2, "ru": 2}, accumulation=2)
    assert loaded.seconds == pytest.approx({"en": 0.8, "it": 0.8, "ru": 0.8, "raw": 3.2})
    for name, target in (("raw", "x:text.en"), ("en", "x:text")):
        dev_batches = list(loaded.dev_batches(sources[name]))
        assert len({utt for batch in dev_batches for utt in batch.utt_ids}) == sum(map(len, dev_batches)) == len(sources[name])
        for batch in dev_batches:
            tokens = batch.target_lengths[target].clamp(min=0)
            cost = batch.lengths["feats"] + (20 * tokens if batching.cost == "frames_tokens" else 0)
            assert len(batch) * int(cost.max()) <= 320
        assert max(map(len, dev_batches)) > 2


def test_many_steps_need_no_open_files(sources: dict[str, Source]) -> None:
    loaded = iter(loader(sources, workers=1))
    steps = take(loaded, 2)
    before = len(os.listdir("/proc/self/fd"))
    steps += take(loaded, 10)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_pad() -> None:
    assert pad([np.array([1, 2]), np.array([3])]).tolist() == [[1, 2], [3, 0]]


def test_a_killed_training_leaves_no_workers(sources: dict[str, Source]) -> None:
    reading, writing = os.pipe()
    main = os.fork()
    if main == 0:  # a training process that reads one step, reports, and waits
        steps = iter(loader(sources, workers=2))
        next(steps)
        os.write(writing, " ".join(str(child.pid) for child in multiprocessing.active_children()).encode())
        time.sleep(60)
    workers = [int(pid) for pid in os.read(reading, 100).split()]
    os.kill(main, signal.SIGKILL)
    os.waitpid(main, 0)
    assert len(workers) == 2
    deadline = time.monotonic() + 4
    while any(_runs(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in workers)


def _runs(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"

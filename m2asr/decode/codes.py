"""Writes text.codes into data directories: the cluster of every averaged state of a run, without repeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from m2asr.config import FbankConfig
from m2asr.data.batching import Batches, sorted_batches
from m2asr.data.directory import CODE_LENGTHS, is_text_set
from m2asr.data.feats import AudioFeats, StoredFeats
from m2asr.data.index import UtteranceIndex
from m2asr.data.report import SHOWN, first_of
from m2asr.data.sources import ConcatIndex
from m2asr.data.streams import BadUtterances
from m2asr.decode.code_purity import Purity
from m2asr.decode.codebook import Codebook, learn_centroids
from m2asr.decode.pooled_states import PooledStates
from m2asr.decode.trained import open_features
from m2asr.errors import UserError
from m2asr.files import keep_time, open_atomic
from m2asr.ownership import note
from m2asr.progress import visible
from m2asr.train.initialize import trained_fbank

FILE = "text.codes"
CHUNK = 2000  # utterances whose codes are in memory at once; the longest of them are encoded first


@dataclass(frozen=True)
class Speech:
    """The utterances of a data directory with their features, whose frames come every `shift` seconds.

    `budget` is the number of frames of a batch, with padding.
    """

    index: UtteranceIndex
    feats: StoredFeats | AudioFeats
    frames: np.ndarray  # (N,)
    shift: float
    budget: float

    @classmethod
    def open(cls, folder: Path, dump: Path | None, exp: Path, batch_seconds: float, allow_pipes: bool = False) -> Speech:
        """Open a data directory. Raises UserError if it has no audio, or features that are not those of the run."""
        if is_text_set(folder):
            raise UserError(f"{folder}: a text set has no audio, and so no codes; name data directories with recordings")
        index, feats, fbank = open_features(folder, dump, exp, allow_pipes)
        _check_geometry(fbank, trained_fbank(exp), index.name, dump, exp)
        shift = fbank.frame_shift / 1000
        return cls(index, feats, feats.frames(index.frames, 1.0), shift, batch_seconds / shift)

    def states(self, utterances: Sequence[int], reader: PooledStates, bad: BadUtterances) -> dict[int, Tensor]:
        """The averaged states (N, D) of the utterances that can be read; the others go to `bad`."""
        read: dict[int, np.ndarray] = {}
        for i in utterances:
            try:
                read[i] = self.feats(self.index, i, np.random.default_rng(0))  # (T, F)
            except UserError as error:
                bad.add([f"set {self.index.name}, utterance {self.index.utt_ids(i)}: {error}"])
        if not read:
            return {}
        states = dict(zip(read, reader(list(read.values()), [self.index.lang(i) for i in read]), strict=True))
        for i in [i for i, rows in states.items() if not rows.isfinite().all()]:
            bad.add([f"set {self.index.name}, utterance {self.index.utt_ids(i)}: its states are not finite numbers; look at its features"])
            del states[i]
        return states


def _check_geometry(fbank: FbankConfig, trained: FbankConfig, name: str, dump: Path | None, exp: Path) -> None:
    if fbank.geometry() != trained.geometry():
        problem = f"its features were computed otherwise than those that {exp} was trained on"
        raise UserError(f"{dump / name}: {problem}; leave --dump out, or run stage fbank as for that run")


def learn_codebook(
    sets: Sequence[Speech], reader: PooledStates, clusters: int, share: float, passes: int, seed: int, bad: BadUtterances
) -> Codebook:
    """A codebook of the states of a random `share` of the batches of some sets, read `passes` times; `seed` decides all choices."""
    joined = ConcatIndex([speech.index for speech in sets])
    frames = np.concatenate([speech.frames for speech in sets])
    plan = Batches(frames, sets[0].budget, seed=seed, stream="codes")

    def states() -> Iterator[np.ndarray]:
        for epoch in range(passes):
            batches = plan.epoch(epoch)
            numbers = range(max(1, round(share * len(batches))))
            for number in tqdm(numbers, desc=f"codebook {epoch + 1}/{passes}", unit="batch", disable=not visible()):
                for speech, utterances in _by_set(sets, joined, batches[number]):
                    yield from (rows.float().cpu().numpy() for rows in speech.states(utterances, reader, bad).values())

    centroids = learn_centroids(states(), clusters, seed)
    return Codebook(centroids, reader.run, reader.tap, reader.pool, str(reader.exp))


def _by_set(sets: Sequence[Speech], joined: ConcatIndex, numbers: np.ndarray) -> Iterator[tuple[Speech, list[int]]]:
    """The utterances of a batch, with their numbers in their own sets."""
    utterances: dict[int, list[int]] = {}
    for number in numbers.tolist():
        index, i = joined.find(number)
        utterances.setdefault(joined.indexes.index(index), []).append(i)
    yield from ((sets[position], members) for position, members in utterances.items())


def write_codes(speech: Speech, reader: PooledStates, codebook: Codebook, bad: BadUtterances, purity: Purity | None = None) -> CodesReport:
    """Write text.codes, `utterance c017 c004 ...` without repeats, and utt2codes into the folder of a set.

    utt2codes has lines `utterance count seconds codebook`: the number of codes with repeats, the seconds of one, and the codebook's digest;
    by it the validator finds codes of other audio or of another codebook. Utterances without codes have no line. A file that would stay as
    it is keeps its time. Raises UserError if no utterance has codes; then the folder stays as it was.
    """
    folder, words, digest = speech.index.data_dir, np.array(codebook.words), codebook.digest
    report = CodesReport(folder, len(codebook.centroids))
    for name in (CODE_LENGTHS, FILE):
        note(folder, name)
    with open_atomic(folder / CODE_LENGTHS) as lengths, open_atomic(folder / FILE) as file:
        for (utt, codes), frames in zip(_codes(speech, reader, codebook, bad), speech.frames.tolist(), strict=True):
            report.add(utt, codes, frames * speech.shift)
            if purity is not None:
                purity.add(utt, codes, reader.middles(len(codes)))
            if len(codes):
                file.write(f"{utt} {' '.join(words[without_repeats(codes)])}\n")
                lengths.write(f"{utt} {len(codes)} {reader.seconds:g} {digest}\n")
        if not report.counts.sum():
            raise UserError(f"{folder}: no utterance has codes; all are unreadable or too short")
        keep_time(lengths, folder / CODE_LENGTHS)
        report.state = keep_time(file, folder / FILE)
    return report


def _codes(speech: Speech, reader: PooledStates, codebook: Codebook, bad: BadUtterances) -> Iterator[tuple[str, np.ndarray]]:
    """Id and codes (N,), with repeats, of every utterance of a set in its order; none for those that cannot be read."""
    with tqdm(total=len(speech.index), desc=f"codes {speech.index.name}", unit="utt", disable=not visible()) as bar:
        for start in range(0, len(speech.index), CHUNK):
            frames, codes = speech.frames[start : start + CHUNK], {}
            for batch in sorted_batches(frames, speech.budget):
                states = speech.states((batch + start).tolist(), reader, bad)
                codes |= {i: codebook.codes(rows) for i, rows in states.items()}
                bar.update(len(batch))
            for i in range(start, start + len(frames)):
                yield speech.index.utt_ids(i), codes.get(i, np.zeros(0, dtype=np.int64))


def without_repeats(codes: np.ndarray) -> np.ndarray:
    """Codes (N,) without those that repeat the one before."""
    return codes[np.diff(codes, prepend=-1) != 0]


class CodesReport:
    """Counts codes, and utterances without codes; `str` tells them, the perplexity of the codes, and codes per second."""

    def __init__(self, folder: Path, clusters: int) -> None:
        self.folder, self.state = folder, "written"
        self.seconds = 0.0  # of audio that has codes
        self.counts = np.zeros(clusters, dtype=np.int64)  # with repeats
        self.utterances = self.written = self.without = 0
        self.examples: list[str] = []  # the first utterances without codes

    def add(self, utt: str, codes: np.ndarray, seconds: float) -> None:
        """Count the codes (N,), with repeats, of an utterance of `seconds` seconds."""
        self.utterances += 1
        self.counts += np.bincount(codes, minlength=len(self.counts))
        self.written += len(without_repeats(codes))
        if len(codes):
            self.seconds += seconds
        else:
            self.without += 1
            self.examples += [utt] if self.without <= SHOWN else []

    @property
    def perplexity(self) -> float:
        """Of the codes with repeats: the number of clusters if all are equally frequent."""
        shares = self.counts[self.counts > 0] / self.counts.sum()
        return float(np.exp(-(shares * np.log(shares)).sum()))

    def __str__(self) -> str:
        lines = [
            f"{self.folder / FILE}: {self.state}, {self.utterances - self.without} utterances, {self.written} codes",
            f"  {(self.counts > 0).sum()} of {len(self.counts)} clusters used, perplexity {self.perplexity:.1f}",
            f"  {self.counts.sum() / self.seconds:.2f} codes per second, {self.written / self.seconds:.2f} without repeats",
        ]
        if self.without:
            lines += [f"  without a line, unreadable or too short: {self.without}", *first_of(self.examples, self.without)]
        return "\n".join(lines)

"""Computes the features of a data directory: processes write ark files, and dump/<set> appears when all of them have finished."""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
import zlib
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple

import kaldiio
import numpy as np
import torch
import yaml
from tqdm import tqdm

from m2asr.config import FbankConfig, load_config
from m2asr.data.audio import DURATION_TOLERANCE, Channel, read_audio
from m2asr.data.directory import write_table
from m2asr.data.recordings import Item, read_items
from m2asr.data.report import FIX
from m2asr.data.resample import at_rate, at_speed
from m2asr.errors import UserError
from m2asr.features.cmvn import accumulate
from m2asr.features.fbank import Fbank
from m2asr.files import replace_dir
from m2asr.processes import end_with_starter
from m2asr.progress import visible

SHOWN = 10  # bad utterances named before the rest are only counted
COMPRESSION = 2  # Kaldi's kSpeechFeature: one byte per value
SOURCE = "recordings.sha256"  # in dump/<set>: a hash of the files that name its recordings
CHUNK = 32  # utterances between two steps of the progress bar


class ChunkResult(NamedTuple):
    """The result of a chunk: offset in the ark and frames per utterance, CMVN statistics, a message per bad utterance."""

    utts: list[tuple[str, int, int]]
    stats: np.ndarray  # (2, F + 1)
    bad: list[str]
    resampled: Counter[int]  # by the sample rate of their recordings


class Extracted(NamedTuple):
    """The speech from which the features of a set were computed."""

    utterances: int
    hours: float
    resampled: Counter[int]  # utterances by the sample rate of their recordings, where it is not that of the features


def extract(data: Path, dump: Path, config: FbankConfig, jobs: int, allow_pipes: bool = False, source: str = "CONFIG") -> Extracted:
    """Write feats.scp, feats.<job>.ark, utt2num_frames, cmvn.ark, fbank.yaml and recordings.sha256 of one set.

    Recordings of a higher sample rate than that of the features are resampled. The number of ark files depends on `jobs`, the features do
    not. Raises UserError that counts the utterances which cannot be used and names the first ones (wav.scp:line); then nothing is written.
    Its advice names `source`, the file of the config.
    """
    fbank = _fbank(config.model_dump_json())
    items = read_items(data)
    chunks = [items[first : first + CHUNK] for first in range(0, len(items), CHUNK)]
    frames, locations, bad, resampled = {}, {}, [], Counter()
    stats = np.zeros((2, fbank.num_mel_bins + 1))
    with replace_dir(dump, "features") as out, ExitStack() as stack:
        writers = [_Writer(out / f"feats.{job}.ark", config, allow_pipes, stack) for job in range(1, min(jobs, len(chunks)) + 1)]
        work = [(writers[n % len(writers)], chunk) for n, chunk in enumerate(chunks)]
        futures = [(writer.ark.name, writer.submit(chunk)) for writer, chunk in work]
        with tqdm(total=len(items), desc=f"fbank {data.name}", unit="utt", disable=not visible()) as bar:
            for ark, future in futures:
                result = _result(future)
                for utt, offset, count in result.utts:
                    frames[utt], locations[utt] = str(count), f"{dump / ark}:{offset}"
                stats += result.stats
                bad += result.bad
                resampled += result.resampled
                bar.update(len(result.utts) + len(result.bad))
        if bad:
            more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
            shown = "; ".join(message.removeprefix(f"{data}/") for message in bad[:SHOWN])  # the advice names the folder
            advice = f"drop them with: {FIX} --check_wav{' --allow_pipes' * allow_pipes} --config {source} {data}"
            raise UserError(f"{len(bad)} of {len(items)} utterances cannot be used: {shown}{more}; {advice}")
        write_table(out / "feats.scp", locations)
        write_table(out / "utt2num_frames", frames)
        kaldiio.save_mat(str(out / "cmvn.ark"), stats)
        (out / SOURCE).write_text(_recordings_hash(data))
        (out / "fbank.yaml").write_text(yaml.safe_dump(config.model_dump(), sort_keys=False), encoding="utf-8")
    return Extracted(len(items), stats[0, -1] * config.frame_shift / 3_600_000, resampled)


def is_up_to_date(data: Path, dump: Path, config: FbankConfig) -> bool:
    """Whether the folder `dump` holds the features of this set, computed from the same recordings.

    Raises UserError if it holds features with another config: other runs may have been trained on them.
    """
    if not (dump / "fbank.yaml").is_file():
        return False
    stored = load_config(FbankConfig, dump / "fbank.yaml")
    differs = [f"{key} {value}" for key, value in stored if key != "compress" and value != getattr(config, key)]
    if differs:
        raise UserError(f"{dump}: its features have {', '.join(differs)}; remove this folder to make them anew, or choose another --dump")
    return (dump / SOURCE).is_file() and (dump / SOURCE).read_bytes() == _recordings_hash(data).encode()


def _recordings_hash(data: Path) -> str:
    """A hash of the files that name the recordings and segments of a set."""
    digest = hashlib.sha256()
    for name in ("wav.scp", "segments", "utt2dur"):
        if (data / name).is_file():
            digest.update(f"{name}\n".encode())
            with open(data / name, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


class _Writer:
    """A process that appends chunk after chunk to one ark file, in the order they are submitted."""

    def __init__(self, ark: Path, config: FbankConfig, allow_pipes: bool, stack: ExitStack) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])  # torch is imported once, not in every process
        self.ark, self.config, self.allow_pipes = ark, config.model_dump_json(), allow_pipes
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_start_process)
        stack.callback(self._pool.shutdown, cancel_futures=True)

    def submit(self, chunk: list[Item]) -> Future[ChunkResult]:
        # Ctrl-C waits: a process that has only half started would be in no list, and would not end
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._pool.submit(_write, chunk, self.ark, self.config, self.allow_pipes)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_process() -> None:
    end_with_starter()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends its processes
    torch.set_num_threads(1)


def _result(future: Future[ChunkResult]) -> ChunkResult:
    try:
        return future.result()
    except BrokenProcessPool:
        raise UserError("a feature process was killed, perhaps for memory; run it again with a smaller --nj") from None


def _write(chunk: list[Item], ark: Path, config: str, allow_pipes: bool) -> ChunkResult:
    """Append the features of a chunk to an ark file."""
    fbank, options = _fbank(config), FbankConfig.model_validate_json(config)
    result = ChunkResult([], np.zeros((2, fbank.num_mel_bins + 1)), [], Counter())
    with open(ark, "ab") as file:
        for item in chunk:
            try:
                rng = np.random.default_rng(zlib.crc32(item.utt.encode()))  # dither does not depend on the process
                wave, rate = _read(item, allow_pipes, options.channel)
                wave = at_speed(at_rate(wave, rate, fbank.sample_rate), fbank.sample_rate, options.speed, fbank.length)
                feats = fbank(wave, rng)  # (T, F)
                if not len(feats):
                    raise UserError(f"{len(wave) / fbank.sample_rate:.3f} s are shorter than a window of {options.frame_length:g} ms")
            except UserError as error:
                result.bad.append(f"{item.location}: {item.utt}: {error}")
                continue
            result.utts.append((item.utt, file.tell() + len(item.utt.encode()) + 1, len(feats)))
            kaldiio.save_ark(file, {item.utt: feats}, compression_method=COMPRESSION if options.compress else None)
            result.stats[:] += accumulate(feats)
            if rate != fbank.sample_rate:
                result.resampled[rate] += 1
    return result


@cache
def _fbank(config: str) -> Fbank:
    return Fbank(**FbankConfig.model_validate_json(config).geometry())


def _read(item: Item, allow_pipes: bool, channel: Channel) -> tuple[np.ndarray, int]:
    """The samples of an utterance and their rate. Raises UserError for audio that is shorter than utt2dur."""
    wave, rate = read_audio(item.wav, item.start, item.end, allow_pipes, channel if item.channel is None else item.channel)
    seconds = len(wave) / rate
    if item.seconds is not None and seconds < item.seconds - DURATION_TOLERANCE:
        raise UserError(f"{seconds:.2f} s of audio where {item.seconds:.2f} s are expected: truncated? fetch the file again")
    return wave, rate

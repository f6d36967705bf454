"""Features of a data directory: several processes write ark files, and dump/<set> appears when all are done."""

from __future__ import annotations

import multiprocessing
import signal
import zlib
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

from m2asr.config import FbankConfig
from m2asr.data.audio import DURATION_TOLERANCE, read_audio
from m2asr.data.directory import read_lines, read_table, write_table
from m2asr.errors import UserError
from m2asr.features.cmvn import accumulate
from m2asr.features.fbank import Fbank
from m2asr.files import replace_dir
from m2asr.progress import visible

SHOWN = 10  # bad utterances named before the rest are only counted
COMPRESSION = 2  # Kaldi's kSpeechFeature: one byte per value
CHUNK = 32  # utterances between two steps of the progress bar


class Item(NamedTuple):
    """What is read for one utterance: where wav.scp or segments says so, the recording, the stretch in seconds, its length by utt2dur."""

    utt: str
    place: str
    wav: str
    start: float = 0.0
    end: float | None = None
    seconds: float | None = None


class Written(NamedTuple):
    """What a process has done with a chunk: offset in the ark and frames per utterance, CMVN statistics, a message per bad one."""

    utts: list[tuple[str, int, int]]
    stats: np.ndarray  # (2, F + 1)
    bad: list[str]


def extract(data: Path, dump: Path, config: FbankConfig, jobs: int, allow_pipes: bool = False) -> tuple[int, float]:
    """Write feats.scp, feats.<job>.ark, utt2num_frames, cmvn.ark and fbank.yaml of one set; returns utterances and hours.

    The number of jobs decides the files, the features do not depend on it. Raises UserError that counts the utterances which cannot be
    used and names the first ones (wav.scp:line); then nothing is written.
    """
    fbank = _fbank(config.model_dump_json())
    items = _items(data)
    chunks = [items[first : first + CHUNK] for first in range(0, len(items), CHUNK)]
    frames, places, bad = {}, {}, []
    stats = np.zeros((2, fbank.num_mel_bins + 1))
    with replace_dir(dump) as out, ExitStack() as stack:
        writers = [_Writer(out / f"feats.{job}.ark", config, allow_pipes, stack) for job in range(1, min(jobs, len(chunks)) + 1)]
        work = [(writers[n % len(writers)], chunk) for n, chunk in enumerate(chunks)]
        futures = [(writer.ark.name, writer.submit(chunk)) for writer, chunk in work]
        with tqdm(total=len(items), desc=f"fbank {data.name}", unit="utt", disable=not visible()) as bar:
            for ark, future in futures:
                done = _result(future)
                for utt, offset, count in done.utts:
                    frames[utt], places[utt] = str(count), f"{dump / ark}:{offset}"
                stats += done.stats
                bad += done.bad
                bar.update(len(done.utts) + len(done.bad))
        if bad:
            more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
            raise UserError(f"{len(bad)} of {len(items)} utterances cannot be used: {'; '.join(bad[:SHOWN])}{more}")
        write_table(out / "feats.scp", places)
        write_table(out / "utt2num_frames", frames)
        kaldiio.save_mat(str(out / "cmvn.ark"), stats)
        (out / "fbank.yaml").write_text(yaml.safe_dump(config.model_dump(), sort_keys=False), encoding="utf-8")
    return len(items), stats[0, -1] * config.frame_shift / 3_600_000


def _items(data: Path) -> list[Item]:
    """What to read for every utterance, in the order of the ids, with or without a segments file."""
    wav_scp, segments = data / "wav.scp", data / "segments"
    if not wav_scp.is_file():
        raise UserError(f"{wav_scp}: not found; run stage 0 (data) first")
    wavs = read_table(wav_scp)
    if segments.is_file():
        items = [_segment(utt, f"{segments}:{number}", value, wavs) for number, utt, value in read_lines(segments)]
    else:
        seconds = read_table(data / "utt2dur") if (data / "utt2dur").is_file() else {}
        lines = read_lines(wav_scp)
        items = [Item(utt, f"{wav_scp}:{number}", wav, seconds=_duration(data, utt, seconds.get(utt))) for number, utt, wav in lines]
    if not items:
        raise UserError(f"{wav_scp}: this set has no utterance")
    return sorted(items, key=lambda item: item.utt.encode())


def _duration(data: Path, utt: str, value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        raise UserError(f"{data / 'utt2dur'}: {utt}: `{value}` is not a number of seconds") from None


def _segment(utt: str, place: str, value: str, wavs: dict[str, str]) -> Item:
    try:
        recording, start, end = value.split()
        wav, first, last = wavs[recording], float(start), float(end)
        if last < 0:  # Kaldi's way to say "to the end"
            return Item(utt, place, wav, first)
        if not 0 <= first < last:
            raise ValueError
    except (ValueError, KeyError):
        raise UserError(f"{place}: {utt}: write `utterance recording start end`, a recording of wav.scp and start < end") from None
    return Item(utt, place, wav, first, last, last - first)


class _Writer:
    """A process that appends chunk after chunk to one ark file, in the order they are submitted."""

    def __init__(self, ark: Path, config: FbankConfig, allow_pipes: bool, stack: ExitStack) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])  # torch is imported once, not in every process
        self.ark, self.config, self.allow_pipes = ark, config.model_dump_json(), allow_pipes
        self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_start_process)
        stack.callback(self._pool.shutdown, cancel_futures=True)

    def submit(self, chunk: list[Item]) -> Future[Written]:
        # Ctrl-C waits: a process that is half started would be known to nobody, and live on
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._pool.submit(_write, chunk, self.ark, self.config, self.allow_pipes)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends its processes
    torch.set_num_threads(1)


def _result(future: Future[Written]) -> Written:
    try:
        return future.result()
    except BrokenProcessPool:
        raise UserError("a feature process was killed, perhaps for memory; run it again with a smaller --nj") from None


def _write(chunk: list[Item], ark: Path, config: str, allow_pipes: bool) -> Written:
    """Append the features of a chunk to an ark file."""
    fbank, compress = _fbank(config), FbankConfig.model_validate_json(config).compress
    done = Written([], np.zeros((2, fbank.num_mel_bins + 1)), [])
    with open(ark, "ab") as file:
        for item in chunk:
            try:
                rng = np.random.default_rng(zlib.crc32(item.utt.encode()))  # dither: the same whatever process draws it
                feats = fbank(_read(item, fbank.sample_rate, allow_pipes), rng)  # (T, F)
                if not len(feats):
                    raise UserError("shorter than one frame")
            except UserError as error:
                done.bad.append(f"{item.place}: {item.utt}: {error}")
                continue
            done.utts.append((item.utt, file.tell() + len(item.utt.encode()) + 1, len(feats)))
            kaldiio.save_ark(file, {item.utt: feats}, compression_method=COMPRESSION if compress else None)
            done.stats[:] += accumulate(feats)
    return done


@cache
def _fbank(config: str) -> Fbank:
    return Fbank(**FbankConfig.model_validate_json(config).model_dump(exclude={"compress"}))


def _read(item: Item, rate_wanted: int, allow_pipes: bool) -> np.ndarray:
    """The samples of an utterance. Raises UserError for another sample rate and for audio that ends before utt2dur says."""
    wave, rate = read_audio(item.wav, item.start, item.end, allow_pipes)
    if rate != rate_wanted:
        raise UserError(f"{rate} Hz, the features want {rate_wanted} Hz; resample it, or set sample_rate in the fbank config")
    seconds = len(wave) / rate
    if item.seconds is not None and seconds < item.seconds - DURATION_TOLERANCE:
        raise UserError(f"{seconds:.2f} s of audio where {item.seconds:.2f} s are expected: truncated? fetch the file again")
    return wave

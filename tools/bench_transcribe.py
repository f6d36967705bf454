"""Transcribes an hour of test prompts with pauses between them: errors compared with prompts that are read one by one, speed, peak memory.

python tools/bench_transcribe.py --exp egs/mini/exp/train_m2asr
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from rapidfuzz.distance import Levenshtein

from m2asr.data.audio import read_audio
from m2asr.data.directory import read_table
from m2asr.data.resample import at_rate
from m2asr.decode.vad import available

ROOT = Path(__file__).resolve().parents[1]
TARGET_WER, TARGET_SPEED, TARGET_MEMORY = 2.0, 40, 1.5  # at most points above prompts one by one; at least x real time; at most GB
RATE = 16000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exp", type=Path, default=ROOT / "egs/mini/exp/train_m2asr", help="a trained run of mini")
    parser.add_argument("--data", type=Path, default=ROOT / "egs/mini/data", help="its data directories")
    parser.add_argument("--langs", nargs="+", default=["en", "it", "ru"], help="languages; a recording is made for each")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of a recording")
    parser.add_argument("--cut", nargs="+", default=["pauses", "windows"], help="values of --cut to compare")
    args = parser.parse_args()
    if not (args.exp / "model.pt").is_file() or not (args.exp / "fbank.yaml").is_file():
        print(f"transcribe: skipped, {args.exp} holds no trained run (cd egs/mini && ./run.sh)")
        return
    for lang in args.langs:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "hour.wav"
            prompts = build(args.data / f"test_{lang}", path, 60 * args.minutes)
            texts = read_table(args.data / f"test_{lang}/text")
            reference = " ".join(texts[utt] for utt in prompts)
            alone = one_by_one(args.exp, args.data / f"test_{lang}", lang)
            expected = wer(" ".join(alone[utt] for utt in prompts), reference)
            print(f"{lang}: {len(prompts)} prompts, {len(reference.split())} words; one by one WER {expected:.2f} %")
            for cut in args.cut:
                if cut == "pauses" and not available():
                    print("  pauses: skipped, silero-vad is not installed")
                    continue
                measure(args.exp, path, lang, cut, reference, expected)


def build(data: Path, path: Path, seconds: float) -> list[str]:
    """Write a recording of all prompts of a set, repeated in another order each time, with 0.8 to 2 s of faint noise between them.

    Returns the utterances in the order of the recording.
    """
    rng = np.random.default_rng(0)
    waves = {utt: at_rate(*read_audio(str(_path(wav))), RATE) for utt, wav in read_table(data / "wav.scp").items()}
    utterances: list[str] = []
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        while file.frames < seconds * RATE:
            for utt in rng.permutation(sorted(waves)):
                pause = rng.standard_normal(round(rng.uniform(0.8, 2.0) * RATE)) * 2e-4
                file.write(np.concatenate([pause, waves[utt]]))
                utterances.append(str(utt))
                if file.frames >= seconds * RATE:
                    break
    return utterances


def _path(wav: str) -> Path:
    return Path(wav) if Path(wav).is_absolute() or Path(wav).exists() else ROOT / "egs/mini" / wav


def one_by_one(exp: Path, data: Path, lang: str) -> dict[str, str]:
    """The texts that the run recognizes when every recording of a set is read alone."""
    import torch

    from m2asr.decode.encode import encode
    from m2asr.decode.search import search
    from m2asr.decode.transcriber import Transcriber
    from m2asr.features.fbank import Fbank

    torch.set_num_threads(1)
    transcriber = Transcriber(exp, cut="windows")
    reader, _ = transcriber.choose(lang, None)
    fbank = Fbank(**transcriber.fbank.geometry())
    texts = {}
    for utt, wav in read_table(data / "wav.scp").items():
        encoded = encode(transcriber.system, [fbank(at_rate(*read_audio(str(_path(wav))), fbank.sample_rate))])
        with torch.inference_mode():
            best = search(transcriber.system, reader, encoded, *transcriber.setups[reader])[0]
        texts[utt] = transcriber.tokenizers[reader.tokens].decode(best.tokens)
    return texts


def measure(exp: Path, path: Path, lang: str, cut: str, reference: str, expected: float) -> None:
    """Run the command on one core in a separate process, and print errors, speed and memory."""
    seconds = soundfile.info(path).duration
    out = path.parent / cut
    command = [sys.executable, "-m", "m2asr.bin.transcribe", path, "--exp", exp, "--lang", lang, "--cut", cut, "--out", out]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run([*map(str, command), "--format", "txt", "srt", "ctm", "json"], capture_output=True, text=True, env=environment)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode:
        raise SystemExit(result.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = after.ru_maxrss / 1e6  # GB; of the largest child so far
    speed, clock = seconds / cpu, seconds / wall
    error = wer((out / f"{path.stem}.txt").read_text(encoding="utf-8"), reference)
    print(f"  {cut}, {seconds / 60:.0f} min: WER {error:.2f} %, {error - expected:+.2f}", end="")
    if cut == "pauses":  # no target for windows, which are only used without silero-vad
        print(f" (at most +{TARGET_WER:g}):", _verdict(error <= expected + TARGET_WER), end="")
    speeds = f"{speed:.0f} x real time by CPU time, {clock:.0f} by the clock (at least {TARGET_SPEED}):"
    print(f"\n    {speeds}", _verdict(speed >= TARGET_SPEED))
    print(f"    peak memory {memory:.2f} GB (at most {TARGET_MEMORY}):", _verdict(memory <= TARGET_MEMORY), flush=True)


def _verdict(reached: bool) -> str:
    return "ok" if reached else "MISSED"


def wer(hypothesis: str, reference: str) -> float:
    """The word error rate of a complete text, in percent."""
    words = reference.split()
    return 100 * Levenshtein.distance(hypothesis.split(), words) / len(words)


if __name__ == "__main__":
    main()

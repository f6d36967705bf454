"""Write tests/features/reference.npz: a recording per language of the mini corpus, joined, and the features by kaldi-native-fbank.

python tools/make_fbank_reference.py
"""

from __future__ import annotations

from pathlib import Path

import kaldi_native_fbank
import numpy as np

from m2asr.data.audio import read_audio

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests/features/reference.npz"
PROMPTS = ("en/dictate_paused", "it/dictate_paused", "ru/vm-goodbye")


def kaldi_fbank(samples: np.ndarray) -> np.ndarray:
    """Features (T, 80) float32 of 16 kHz samples (N,) int16 by Kaldi's defaults, without dither."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = 16000
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = 80
    options.energy_floor = 0.0
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(16000, samples.astype(np.float32).tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(t) for t in range(computer.num_frames_ready)])


def main() -> None:
    waves = [read_audio(str(ROOT / "egs/mini/corpus/audio" / f"{prompt}.opus"))[0] for prompt in PROMPTS]
    samples = np.round(np.concatenate(waves) * 32768).clip(-32768, 32767).astype(np.int16)
    feats = kaldi_fbank(samples)
    np.savez_compressed(REFERENCE, wave=samples, feats=feats)
    print(f"{REFERENCE.relative_to(ROOT)}: {len(samples) / 16000:.2f} s, {len(feats)} frames")


if __name__ == "__main__":
    main()

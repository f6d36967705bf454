"""Times the reading of texts as phones on one core: Mandarin sentences made of pypinyin's phrases, and English letter by letter.

Sentences per second, first with the phrases new, then known, as in a large text; the last line is the whole command on a text set.

python tools/bench_phones.py
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from m2asr.data.phones import write_phones
from m2asr.text.normalize import normalize
from m2asr.text.phones import reader_for

TARGET = 20_000  # least Mandarin sentences per second with known phrases
WORDS = ["the", "train", "from", "Bologna", "leaves", "at", "seven", "and", "nobody", "knows", "why", "it", "was", "late", "again"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=20_000, help="sentences per language")
    args = parser.parse_args()
    chosen = random.Random(1)
    mandarin, english = sentences(chosen, args.sentences)
    letters = sum(map(len, mandarin)) / len(mandarin)
    print(f"{len(mandarin):,} sentences, {letters:.1f} characters each in Mandarin, one core")
    read = reader_for("zh")
    report("Mandarin, phrases new", speed(read, mandarin))
    report("Mandarin, phrases known", speed(read, mandarin), TARGET)
    report("English, letters", speed(reader_for("en"), english))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, values in (("text", mandarin), ("utt2lang", ["zh"] * len(mandarin))):
            (folder / name).write_text("".join(f"{i:09d} {value}\n" for i, value in enumerate(values)), encoding="utf-8")
        report("Mandarin, a text set", speed(lambda _: write_phones(folder), mandarin))


def sentences(chosen: random.Random, count: int) -> tuple[list[str], list[str]]:
    """Normalized sentences in Mandarin, of two to six phrases, and in English, of five to fifteen words."""
    from pypinyin.phrases_dict import phrases_dict

    phrases = list(phrases_dict)
    mandarin = [normalize("".join(chosen.choices(phrases, k=chosen.randint(2, 6))), "zh") for _ in range(count)]
    return mandarin, [" ".join(chosen.choices(WORDS, k=chosen.randint(5, 15))).lower() for _ in range(count)]


def speed(work: Callable[[list[str]], object], texts: list[str]) -> float:
    """Texts per second."""
    start = time.perf_counter()
    work(texts)
    return len(texts) / (time.perf_counter() - start)


def report(name: str, measured: float, least: int = 0) -> None:
    """Print a speed, beside the target if there is one."""
    target = f" (at least {least:,}: {'ok' if measured >= least else 'MISSED'})" if least else ""
    print(f"  {name}: {measured:,.0f} sentences/s{target}", flush=True)


if __name__ == "__main__":
    main()

"""Times n-gram models, and compares their perplexity with that of models by KenLM and IRSTLM on the same text.

The text is the words and signs in the source files of the installed Python packages: it is real and large. lmplz of KenLM and tlm of IRSTLM
(Debian's irstlm) are run where they are installed; --lmplz and --tlm give other paths. All ARPA files are scored by the same code.

python tools/bench_lm.py
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SECONDS, MB, RATIO = 90, 2000, 0.01  # at most, for 10 million words and order 5; RATIO: how far the ratio of perplexities may exceed 1
COMPARED = ((1_000_000, 3), (10_000_000, 5))  # words, order
DEV_EVERY = 50  # every 50th file is for testing
TLM = Path("/usr/lib/irstlm/bin/tlm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lmplz", type=Path, default=shutil.which("lmplz"), help="KenLM's estimation")
    parser.add_argument("--tlm", type=Path, default=shutil.which("tlm") or TLM, help="IRSTLM's estimation")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for words, order in COMPARED:
            count = write_texts(folder, words)
            print(f"{count:,} words of Python files, order {order}", flush=True)
            compare(folder, order, args, large=(words, order) == COMPARED[-1])
        speeds(folder / "ours/lm.bin")


def compare(folder: Path, order: int, args: argparse.Namespace, large: bool) -> None:
    """Estimate by every tool and print times, memory and perplexities."""
    text = folder / "train.txt"
    ours = measured("m2asr.bin.lm", "--text", text, "--words", "--order", order, "--out", folder / "ours")
    values = perplexities(folder, folder / "ours/lm.arpa")
    targets = f" (at most {SECONDS} s and {MB:,} MB: {'ok' if ours.seconds <= SECONDS and ours.mb <= MB else 'MISSED'})" if large else ""
    print(f"  m2asr: {ours.seconds:.1f} s, {ours.mb:,.0f} MB{targets}; {describe(values)}", flush=True)
    if not args.lmplz or not Path(args.lmplz).exists():
        print("  KenLM: skipped, lmplz is not installed (https://github.com/kpu/kenlm, or --lmplz)")
    else:
        limits = ["-S", "1G", "-T", folder]
        theirs = run([args.lmplz, "-o", order, "--text", text, "--arpa", folder / "kenlm.arpa", *limits])
        print(f"  KenLM: {result(theirs, values, perplexities(folder, folder / 'kenlm.arpa'))}", flush=True)
    if not Path(args.tlm).exists():
        print("  IRSTLM: skipped, tlm is not installed (apt-get install irstlm, or --tlm)")
    elif large:
        print("  IRSTLM: skipped, it takes minutes for this text")
    else:
        with open(folder / "marked.txt", "w") as file, open(text) as lines:
            file.writelines(f"<s> {line.rstrip()} </s>\n" for line in lines)
        options = ["-lm=ImprovedKneserNey", "-ps=no", "-pts=no", f"-oarpa={folder / 'irstlm.arpa'}"]
        theirs = run([args.tlm, f"-tr={folder / 'marked.txt'}", f"-n={order}", *options])
        note = "counts <s> and n-grams across sentences; it gives unknown words another share"
        print(f"  IRSTLM: {result(theirs, values, perplexities(folder, folder / 'irstlm.arpa'))}; {note}", flush=True)


class Measured(NamedTuple):
    """Wall time, peak memory and output of a program."""

    seconds: float
    mb: float
    output: str


def run(command: list[object]) -> Measured:
    """Run a program and measure it; its standard error is part of the output."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        sys.exit(f"{command[0]} failed: {text[-500:]}")
    return Measured(time.perf_counter() - start, usage.ru_maxrss / 1024, text)


def measured(module: str, *args: object) -> Measured:
    return run([sys.executable, "-m", module, *args])


def perplexities(folder: Path, arpa: Path) -> tuple[float, float]:
    """Perplexity of an ARPA file on the test text, with and without the words that it does not know."""
    out = measured("m2asr.bin.lm", "--arpa", arpa, "--words", "--dev", folder / "dev.txt", "--out", folder / "scored").output
    match = re.search(r"perplexity ([0-9.]+)(?:, ([0-9.]+) without)?", out)
    return float(match[1]), float(match[2] or match[1])


def describe(values: tuple[float, float]) -> str:
    return f"perplexity {values[0]:.2f}, of known words {values[1]:.2f}"


def result(theirs: Measured, ours: tuple[float, float], values: tuple[float, float]) -> str:
    """Describe time, memory and perplexities of another tool, and the ratio of our perplexities to its perplexities."""
    ratio = ours[1] / values[1]
    verdict = "ok" if ratio <= 1 + RATIO else "MISSED"
    return (
        f"{theirs.seconds:.1f} s, {theirs.mb:,.0f} MB; {describe(values)}; "
        f"ours / theirs {ours[0] / values[0]:.4f}, of known words {ratio:.4f} (at most {1 + RATIO}: {verdict})"
    )


def write_texts(folder: Path, words: int) -> int:
    """Write train.txt, with this number of words if there are so many, and dev.txt; returns the number of words in train.txt."""
    count = 0
    with open(folder / "train.txt", "w") as train, open(folder / "dev.txt", "w") as dev:
        for number, lines in enumerate(sources()):
            if number % DEV_EVERY == 0:
                dev.writelines(" ".join(line) + "\n" for line in lines)
                continue
            train.writelines(" ".join(line) + "\n" for line in lines)
            count += sum(map(len, lines))
            if count >= words:
                break
    return count


def sources() -> Iterator[list[list[str]]]:
    """The words of the lines of every installed Python file."""
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore").lower()
        lines = (re.findall(r"[a-z]+|[0-9]+|[!-/:-@\[-`{-~]", line) for line in text.splitlines())
        yield [line for line in lines if len(line) > 2]


def speeds(path: Path) -> None:
    """Print how long opening a model and scoring 200 histories take."""
    import torch  # not earlier: the programs measured above must not start with the memory of torch

    from m2asr.lm.ngram import NgramModel

    torch.set_num_threads(1)
    start = time.perf_counter()
    model = NgramModel.load(path)
    print(f"{len(model.keys):,} n-grams, {len(model.words):,} words: opened in {1000 * (time.perf_counter() - start):.0f} ms", end="; ")
    words = torch.randint(len(model.words), (8, 200), generator=torch.Generator().manual_seed(0))
    states = torch.full((200,), model.start)
    for row in words:
        states = model.next(states, row)
    scores = min(timeit.repeat(lambda: model.scores(states, words[0]), number=1, repeat=20))
    rows = min(timeit.repeat(lambda: model.rows(states), number=1, repeat=20))
    print(f"200 words scored in {1e6 * scores:.0f} us, 200 rows of all words in {1e3 * rows:.0f} ms")


if __name__ == "__main__":
    main()

"""Compares training with ESPnet's: the CPU time in which m2asr reaches the dev CER that ESPnet reaches in some minutes.

Both train Conformers with the same blocks and CTC alone, on one thread and on the same features and texts. Both are decoded by greedy
search and scored by m2asr. tools/espnet/README.md describes the measurement and the differences between the two. Needs stages 0 and 1 of
egs/mini (./run.sh --stop_stage fbank). ESPnet's results stay in --out, and it is not trained again. Run from the root of the repository:

  python tools/compare_espnet.py                             # installs ESPnet into .venv-espnet; about half an hour
  python tools/compare_espnet.py --hours 2 3 4 --seeds 1 2 3 --set optim.warmup_steps=100
  python tools/compare_espnet.py --hours --espnet_options "--optim_conf lr=1.0e-3" --out exp/slower    # ESPnet alone, other settings
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
from pathlib import Path

from espnet_curves import Point, dev_error, mean_point, read_curve, verdict, write_curve
from espnet_runs import FOLDER, Espnet, install, run, version
from m2asr.config import load_config
from m2asr.data.directory import read_table
from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.train_config import TrainConfig
from m2asr.yaml_file import read_yaml

ROOT = Path(__file__).resolve().parents[1]
DATA, DUMP = Path("data"), Path("dump")  # inside the recipe
HOURS = [1.5, 2.0, 2.5, 3.0, 4.0, 5.0]
SEARCH = "conf/decode.yaml"  # greedy


def main() -> None:
    args = arguments()
    os.chdir(args.recipe)
    config = load_config(TrainConfig, args.config, args.set)
    train = list(dict.fromkeys(name for stream in config.streams.values() for name in stream.sets))
    dev = list(dict.fromkeys(name for stream in config.streams.values() for name in stream.dev))
    if missing := [name for name in (*train, *dev) if not (DUMP / name / "feats.scp").is_file()]:
        raise UserError(f"{args.recipe / DUMP}: {missing[0]} has no features; run ./run.sh --stop_stage fbank in {args.recipe} first")
    theirs = espnet(args, train, dev)
    ours = [mean_point([train_ours(args, hours, seed, dev) for seed in args.seeds]) for hours in args.hours]
    if ours:
        write_curve(args.out / "m2asr.csv", ours)
        show("m2asr", ours)
    print(verdict(theirs, ours, version()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=ROOT / "egs/mini")
    parser.add_argument("--out", type=Path, default=Path("exp/compare_espnet"), help="folder of all runs, inside the recipe")
    parser.add_argument("--minutes", type=float, default=10.0, help="CPU time of ESPnet's training")
    parser.add_argument("--min_words", type=int, default=3, help="references with fewer words are not scored, as in the recipe")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv-espnet", help="ESPnet's environment; it is made if it is missing")
    parser.add_argument("--python", default="python3.11", help="the Python that makes this environment")
    parser.add_argument("--espnet_config", type=Path, default=FOLDER / "conformer.yaml")
    parser.add_argument("--espnet_options", default="", help="further options of espnet2.bin.asr_train, as one text")
    parser.add_argument("--espnet_seed", type=int, default=0)
    parser.add_argument("--keep_memory", action="store_true", help="let ESPnet's process keep freed memory, as m2asr's does; glibc only")
    parser.add_argument("--force", action="store_true", help="train ESPnet again")
    parser.add_argument("--config", default="conf/train_supervised.yaml", help="config of m2asr's training, inside the recipe")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to this config")
    parser.add_argument("--hours", nargs="*", type=float, default=HOURS, help="hours of audio: a training for each; none: ESPnet alone")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], help="seeds of m2asr's trainings; means over them are compared")
    args = parser.parse_args()
    args.recipe, args.venv, args.espnet_config = args.recipe.resolve(), args.venv.resolve(), args.espnet_config.resolve()
    return args


def espnet(args: argparse.Namespace, train: list[str], dev: list[str]) -> list[Point]:
    """ESPnet's curve: read from --out where it was trained with the same settings, else by a new training."""
    curve, path = args.out / "espnet.csv", args.out / "espnet.json"
    settings = {"version": version(), "config": read_yaml(args.espnet_config), "options": args.espnet_options, "minutes": args.minutes}
    settings |= {"seed": args.espnet_seed, "keep_memory": args.keep_memory, "sets": [train, dev], "min_words": args.min_words}
    if curve.is_file() and not args.force:
        if json.loads(path.read_text(encoding="utf-8")) != settings:
            raise UserError(f"{path}: ESPnet was trained with other settings; choose another --out, or --force to train it again")
    else:
        python, options = install(args.venv, args.python), shlex.split(args.espnet_options)
        toolkit = Espnet(python, args.out / "espnet", args.espnet_config, options, args.keep_memory)
        toolkit.prepare(train, dev, DATA, DUMP)
        points = toolkit.curve(toolkit.train("train", args.minutes, args.espnet_seed), dev, DATA, args.min_words)
        with open_atomic(path) as file:
            json.dump(settings, file, indent=1)
        write_curve(curve, points)
    points = read_curve(curve)
    show(f"ESPnet {version()}", points)
    return points


def train_ours(args: argparse.Namespace, hours: float, seed: int, dev: list[str]) -> Point:
    """Train m2asr for a number of hours of audio; returns the time and the error rate."""
    exp = args.out / f"m2asr_{hours:g}h_{seed}"
    shutil.rmtree(exp, ignore_errors=True)
    config = ["--config", args.config, "--set", *args.set, f"train.hours={hours}", f"train.seed={seed}"]
    log, module = args.out / "log", [sys.executable, "-m"]
    clock, environment = exp.with_name(f"{exp.name}.clock"), {"PYTHONPATH": str(ROOT)}
    run([*module, "m2asr.bin.tokens", *config, "--data", DATA, "--out", exp / "tokens"], log / f"{exp.name}.tokens.log", **environment)
    command = [sys.executable, ROOT / "tools/clocked_train.py", clock, *config, "--data", DATA, "--dump", DUMP, "--exp", exp]
    run([*command, "--threads", 1], log / f"{exp.name}.train.log", **environment)
    decode = [*module, "m2asr.bin.decode", *dev, "--exp", exp, "--config", SEARCH, "--data", DATA, "--dump", DUMP]
    run(decode, log / f"{exp.name}.decode.log", **environment)
    decoded = [path for path in sorted(exp.glob("decode_*/*/*/info.json")) if json.loads(path.read_text(encoding="utf-8"))["task"] == "asr"]
    hypotheses = {utt: text for path in decoded for utt, text in read_table(path.with_name("text")).items()}
    error = dev_error(hypotheses, dev, DATA, args.min_words, exp)
    measured = json.loads(clock.read_text(encoding="utf-8"))
    print(f"m2asr: {hours:g} h of audio, seed {seed}: dev CER {error:.3f} after {measured['seconds']:.0f} s", flush=True)
    return Point(measured["seconds"], error, f"{hours:g} h of audio")


def show(name: str, curve: list[Point]) -> None:
    """Print the points of a curve."""
    print(f"{name}: seconds of training, dev CER, model")
    for point in sorted(curve, key=lambda point: point.seconds):
        print(f"  {point.seconds:6.0f}  {point.error:.3f}  {point.model}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)

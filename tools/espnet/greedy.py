"""Decodes with checkpoints of ESPnet by greedy CTC search; for ESPnet's environment, in a recipe's folder.

python greedy.py CONFIG FEATS_SCP OUT MODEL.pth ...    # writes OUT/<name of the model>: lines `utterance text`
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

import kaldiio
import torch
from espnet2.tasks.asr import ASRTask


def main(config: str, feats: str, out: Path, models: list[str]) -> None:
    torch.set_num_threads(1)
    model, args = ASRTask.build_model_from_file(config, models[0], "cpu")
    model.eval()
    features = {utt: torch.tensor(array) for utt, array in kaldiio.load_scp(feats).items()}
    for path in models:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        lines = [f"{utt} {text_of(model, array, args.token_list)}\n" for utt, array in features.items()]
        (out / Path(path).stem).write_text("".join(lines), encoding="utf-8")


@torch.no_grad()
def text_of(model: torch.nn.Module, feats: torch.Tensor, tokens: list[str]) -> str:
    """The text of features (T, D): the best token of every frame, with repetitions merged and blanks left out."""
    states, _ = model.encode(feats[None].clone(), torch.tensor([len(feats)]))  # ESPnet normalizes in place
    best = model.ctc.argmax(states)[0].tolist()  # (T',)
    pieces = [tokens[number] for number, _ in groupby(best) if number != model.blank_id]
    return "".join(" " if piece == "<space>" else piece for piece in pieces)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])

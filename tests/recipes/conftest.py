"""A recipe of four small stages in shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes.recipe import Recipe

RUN = """#!/usr/bin/env bash
# Toy: four small stages.
#
#   ./run.sh --stage train

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=corpus                 # a text file
train_config=conf/train.yaml  # config of the training
beam=4                        # width of the search
parse_options "$@"

if stage 0 data "copy the corpus" data; then
  need "$corpus" --corpus
  mkdir -p data
  cp "$corpus" data/text
  echo data >>ran
fi

if stage 1 tokens "list the letters" "$exp/tokens"; then
  need data/text data
  mkdir -p "$exp/tokens"
  cp "$train_config" "$exp/tokens/config"
  echo "nj is $nj" >"$exp/tokens/nj"
  echo tokens >>ran
fi

if stage 2 train "train" "$exp"; then
  need "$exp/tokens" tokens
  if [ -f hook.sh ]; then . ./hook.sh; fi
  printf '%s\\n' "${overrides[@]}" >"$exp/model"
  echo train >>ran
fi

if stage 3 decode "search" "$exp/decode"; then
  need "$exp/model" train
  echo "beam $beam" >"$exp/hypotheses"
  echo decode >>ran
fi
"""


class Toy(Recipe):
    """The toy recipe. `hook` sets the first lines of stage train, `ran` lists the stages that ran to their end."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "toy")
        (self.folder / "run.sh").write_text(RUN)
        (self.folder / "run.sh").chmod(0o755)
        (self.folder / "corpus").write_text("some text\n")
        (self.folder / "conf").mkdir()
        (self.folder / "conf/train.yaml").write_text("epochs: 3\n")
        (self.folder / "conf/other.yaml").write_text("epochs: 4\n")
        (self.folder / "conf/fbank.yaml").touch()
        (self.folder / "conf/decode.yaml").write_text("name: greedy  # of the search\n")
        (self.folder / "conf/decode_lm.yaml").write_text("name: lm\n")

    def hook(self, text: str) -> None:
        (self.folder / "hook.sh").write_text(text)

    def ran(self) -> list[str]:
        """The stages that ran to their end since the last call."""
        path = self.folder / "ran"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names

    def log(self, name: str) -> str:
        return (self.folder / "exp/train/log" / name).read_text()


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)

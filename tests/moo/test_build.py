from __future__ import annotations

import pytest

from m2asr.config import check_config
from m2asr.errors import UserError
from m2asr.moo.build import build_weighting
from m2asr.train_config import Weighting as Section


def build(**section):
    return build_weighting(check_config(Section, section, "config"), ["a", "b"])


def test_options_of_the_section_and_of_the_class() -> None:
    weighting = build(type="moco", beta=0.5, normalize="l2", every=4)
    assert weighting.beta == 0.5 and weighting.normalize == "l2"


@pytest.mark.parametrize(
    "section, message",
    [
        ({"type": "static", "normalize": "l2"}, "weighting.normalize: `static` does not look at gradients"),
        ({"type": "famo", "every": 2}, "weighting.every: `famo` does not look at gradients"),
        ({"type": "dwa", "layers": "conflicting"}, "weighting.layers: `dwa`"),
        ({"type": "modo", "normalize": "loss+"}, "weighting.normalize: needs one batch per step"),
        ({"type": "modo", "samples": 3, "layers": "conflicting"}, "samples: 2"),
        ({"type": "mgda", "every": 2, "layers": "conflicting"}, "every: 1"),
        ({"type": "famo", "gradients": "features"}, "weighting.gradients: `famo` does not look at gradients"),
        ({"type": "modo", "gradients": "features"}, "weighting.gradients: .* `modo` .* set `gradients: exact`"),
        ({"type": "moco", "gradients": "features"}, "weighting.gradients: .* `moco`"),
        ({"type": "gradvac", "gradients": "features"}, "weighting.gradients: .* `gradvac`"),
        ({"type": "mgda", "normalize": "l2", "gradients": "features"}, "weighting.normalize: .* set `normalize: none`"),
        ({"type": "mgda", "layers": "conflicting", "gradients": "features"}, "weighting.layers: .* set `layers: all`"),
        ({"type": "mgda", "gradients": "feature"}, "gradients"),
        ({"type": "mgda", "every": 0}, "every"),
        ({"type": "mgda", "normalise": "l2"}, "normalise"),
        ({"type": "mgda", "normalize": "l1"}, "normalize"),
    ],
)
def test_mistakes_are_one_line(section: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        build(**section)
    assert "\n" not in str(error.value)

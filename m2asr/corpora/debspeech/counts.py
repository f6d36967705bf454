"""The utterances, hours and speakers of every set that `prepare` makes of all sources in the pinned packages."""

from __future__ import annotations

from m2asr.corpora.summary import Published

COUNTS = {
    "train_bg": Published(720, 0.27, 1),
    "dev_bg": Published(97, 0.03, 1),
    "test_bg": Published(87, 0.04, 1),
    "train_cs": Published(1428, 1.35, 25),
    "dev_cs": Published(170, 0.18, 15),
    "test_cs": Published(204, 0.18, 18),
    "train_en": Published(3796, 2.42, 12),
    "dev_en": Published(464, 0.32, 12),
    "test_en": Published(456, 0.29, 11),
    "train_es": Published(1685, 1.18, 12),
    "dev_es": Published(214, 0.17, 12),
    "test_es": Published(192, 0.13, 11),
    "train_fr": Published(1132, 0.54, 2),
    "dev_fr": Published(144, 0.06, 2),
    "test_fr": Published(125, 0.05, 2),
    "train_it": Published(468, 0.26, 1),
    "dev_it": Published(51, 0.03, 1),
    "test_it": Published(47, 0.03, 1),
    "train_nl": Published(1300, 1.29, 2),
    "dev_nl": Published(151, 0.15, 2),
    "test_nl": Published(162, 0.16, 2),
    "train_ro": Published(730, 0.39, 1),
    "dev_ro": Published(97, 0.05, 1),
    "test_ro": Published(88, 0.05, 1),
    "train_ru": Published(1690, 1.91, 3),
    "dev_ru": Published(206, 0.23, 3),
    "test_ru": Published(181, 0.20, 3),
    "train_zh": Published(3490, 2.65, 1),
    "dev_zh": Published(400, 0.25, 1),
    "test_zh": Published(406, 0.25, 1),
}

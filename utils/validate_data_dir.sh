#!/usr/bin/env bash
# Kaldi's name for `python -m m2asr.bin.validate`; --help lists the options.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -x $root/.venv/bin/python ]]; then PATH=$root/.venv/bin:$PATH; fi
exec python -m m2asr.bin.validate "$@"

#!/usr/bin/env bash
# Kaldi's name for `python -m m2asr.bin.validate`; --help lists the options.
. "$(dirname "${BASH_SOURCE[0]}")/command.sh"
m2asr validate "$@"

#!/usr/bin/env bash
# Kaldi's name for `python -m m2asr.bin.fix_data_dir`; --help lists the options.
. "$(dirname "${BASH_SOURCE[0]}")/command.sh"
m2asr fix_data_dir "$@"

#!/usr/bin/env bash
# Train, decode and score every row of conf/ablation.yaml for each of its seeds, and compare them with the first row.
# The same command goes on where it stopped; exp/ablation/RESULTS.md grows with every finished run. Runs with other hours than the config's
# go to a separate folder, such as exp/ablation_2h.
# One run per core goes on at the same time (--jobs). If the script is started more than once, for instance with CUDA_VISIBLE_DEVICES=0 and
# =1 and --jobs 1, the processes share the runs.
# A recipe has a link to this script beside its run.sh.
#
#   ./ablation.sh                             hours of audio, seeds and rows as in the config
#   ./ablation.sh --set hours=2 "seeds=[1]"   a quick look
#   ./ablation.sh --config FILE               the rows of another file; their runs go to exp/<name of FILE>
#   ./ablation.sh --table                     the table of the finished runs; with --set hours=2, that of the quick look
#   ./ablation.sh --archive runs.tar.gz       the runs in this file are not trained again; those finished here are added, without models
cd "$(dirname "$0")" || exit 2
# shellcheck source=utils/command.sh
. ../../utils/command.sh
m2asr ablate --config conf/ablation.yaml "$@"

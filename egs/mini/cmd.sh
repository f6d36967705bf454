# shellcheck shell=bash disable=SC2034
# What training and decoding commands are started with; empty runs them here. On a cluster, for example:
#   train_cmd=(srun --gres=gpu:1 --cpus-per-task=8)
train_cmd=()
decode_cmd=()

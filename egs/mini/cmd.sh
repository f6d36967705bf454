# shellcheck shell=bash disable=SC2034
# Where jobs run; see utils/cmd.sh.
train_cmd=run_cmd
decode_cmd=run_cmd

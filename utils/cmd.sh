# shellcheck shell=bash
# How jobs run; a recipe's cmd.sh chooses one for $train_cmd and one for $decode_cmd.

run_cmd() {  # on this machine, in the foreground
  "$@"
}

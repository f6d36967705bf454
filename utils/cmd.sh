# shellcheck shell=bash
# Commands that run jobs. A recipe's cmd.sh chooses a command for $train_cmd and a command for $decode_cmd.

run_cmd() {  # on this machine, in the foreground
  "$@"
}

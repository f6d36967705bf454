# shellcheck shell=bash
# Every run.sh sources this file first, from its folder: strict mode, environment, options, stages, commands for jobs.
#   . ../../utils/recipe.sh

set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1
utils=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$utils")
recipe=./${0##*/}
# shellcheck source=utils/python.sh
. "$utils/python.sh"

die() {  # message: ends the recipe after a mistake in the command line or in run.sh, with one line and exit code 2
  local message=${1//$'\n'/ }
  ((${#message} <= 1500)) || message="${message:0:750} ... ${message: -750}"
  printf 'error: %s\n' "$message" >&2
  exit 2
}

yaml_value() {  # file key: prints the value of a line `key: value` of a config
  sed -nE "s/^$2: *([^ #]+).*/\1/p" "$1" | grep . || die "$1: give it a line \`$2: ...\`"
}

find_prepared() {  # sets: puts those that stage data has prepared into the array `prepared`, and prints the others
  local name
  prepared=()
  for name in "$@"; do
    if [[ -d data/$name ]]; then prepared+=("$name"); else echo "data/$name: not prepared, left out"; fi
  done
  if [[ ! ${prepared[*]} ]]; then
    _problem="none of the test sets $* is in data; fetch one and prepare it: $command --stage data --force"
    exit 1
  fi
}

# shellcheck source=utils/options.sh
. "$utils/options.sh"
# shellcheck source=utils/stages.sh
. "$utils/stages.sh"
# shellcheck source=utils/cmd.sh
. "$utils/cmd.sh"

# shellcheck shell=bash
# What every run.sh sources first, from its own folder: strict mode, environment, options, stages, jobs.
#   . ../../utils/recipe.sh

set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1
utils=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$utils")
recipe=./${0##*/}
# shellcheck source=utils/python.sh
. "$utils/python.sh"

die() {  # a mistake in the command line or in run.sh: one line, exit code 2
  echo "error: $1" >&2
  exit 2
}

yaml_value() {  # file key: the value of a line `key: value` of a config
  sed -nE "s/^$2: *([^ #]+).*/\1/p" "$1" | grep . || die "$1: give it a line \`$2: ...\`"
}

sets_there() {  # sets: those that stage data has prepared, into the array `there`; the others are named
  local name
  there=()
  for name in "$@"; do
    if [[ -d data/$name ]]; then there+=("$name"); else echo "data/$name: not prepared, left out"; fi
  done
  if [[ ! ${there[*]} ]]; then
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

# shellcheck shell=bash
# The scripts in this folder source this file: `m2asr NAME OPTIONS` becomes `python -m m2asr.bin.NAME OPTIONS`.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=utils/python.sh
. "$root/utils/python.sh"

m2asr() {
  local problem name=$1
  shift
  problem=$(python_problem)
  if [[ $problem ]]; then
    echo "error: $problem" >&2
    exit 1
  fi
  exec python -m "m2asr.bin.$name" "$@"
}

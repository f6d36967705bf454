# shellcheck shell=bash disable=SC2154
# Chooses the python of the recipes and commands: that of .venv, which `make setup` makes, else one on PATH in which m2asr is installed.
# $root is the folder of the toolkit.

python_problem() {  # what is wrong with that python, empty where nothing is
  if [[ -e $root/.venv ]]; then
    [[ -e $root/.venv/.ready ]] || echo "$root/.venv is not complete; run \`make setup\` in $root"
  elif ! command -v python >/dev/null; then
    echo "$root is not set up; run \`make setup\` there"
  elif ! python -c 'import importlib.util as util, sys; sys.exit(util.find_spec("m2asr") is None)'; then
    echo "$root is not set up, and m2asr is not installed for $(command -v python); run \`make setup\` there"
  fi
}

if [[ -e $root/.venv ]]; then PATH=$root/.venv/bin:$PATH; fi

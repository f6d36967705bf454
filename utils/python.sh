# shellcheck shell=bash disable=SC2154
# Chooses the python of the recipes and commands: that of .venv, which `make setup` makes, or else the python on PATH, if it has m2asr.
# $root is the folder of the toolkit.

python_problem() {  # prints a message if this python does not work, and nothing if it does
  local stamp=() here
  here=$(realpath "$root")
  if [[ -e $root/.venv ]]; then
    [[ ! -r $root/.venv/.ready ]] || mapfile -t stamp <"$root/.venv/.ready"
    if [[ ! -e $root/.venv/.ready || ! -x $root/.venv/bin/python ]]; then
      echo "$root/.venv is not complete; run \`make setup\` in $root"
    elif [[ ${stamp[2]:-$here} != "$here" ]]; then  # programs in .venv contain the path of the folder where they were installed
      echo "$root/.venv was made in ${stamp[2]}; run \`make setup\` in $root"
    fi
  elif ! command -v python >/dev/null; then
    echo "$root is not set up; run \`make setup\` there"
  elif [[ $(cd / && python -c 'import importlib.util as u; print(getattr(u.find_spec("m2asr"), "origin", ""))') != "$here/m2asr/__init__.py" ]]; then
    echo "$root is not set up, and $(command -v python) has no m2asr of this folder; run \`make setup\` there"
  fi
}

if [[ -e $root/.venv ]]; then PATH=$root/.venv/bin:$PATH; fi

# shellcheck shell=bash
# Strict mode, options and stages for egs/*/run.sh. A recipe sources this file, assigns its options, calls
# `parse_options "$@"`, and wraps each stage in `if stage NUMBER NAME "what it does"; then ... fi`.
set -euo pipefail

_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
_recipe=$(basename "$0")
_text=$(<"$_recipe")
if [[ -x $_root/.venv/bin/python ]]; then
  export PATH=$_root/.venv/bin:$PATH
elif ! python -c "import m2asr" 2>/dev/null; then
  echo "error: m2asr is not installed; run \`make setup\` in $_root first" >&2
  exit 2
fi

# Options of every recipe. A variable that a recipe assigns before parse_options is an option as well.
stage=0              # first stage, a number or a name
stop_stage=999       # last stage, a number or a name
nj=2                 # processes for features
ngpu=0               # GPUs for training and decoding, 0: the CPU
set=                 # changes to the training config, "a.b=c d.e=f"
tag=                 # name of the run under expdir, default: the training config's name
expdir=exp           # where runs are kept
dry_run=false        # print what would run
force=false          # run stages again that are finished
_common="stage stop_stage nj ngpu set tag expdir dry_run force"
_args=("$@")
_current=            # the stage that is running, "NUMBER NAME"
_ran=false           # whether a stage has run in this call: those after it are then not skipped
_log=
_known=$(compgen -v)

_die() { # one line, exit 2: the command is wrong
  echo "error: $*" >&2
  _current=
  exit 2
}

parse_options() { # reads --name value, --name=value, --flag; dashes or underscores
  local name value own
  own=$(comm -13 <(sort <<<"$_known") <(compgen -v | sort) | grep -v '^_' | grep -vE '^(PIPESTATUS|BASH_.*|FUNCNAME|REPLY|LINENO|OLDPWD|name|value|own)$' || true)
  _options="$own $_common"
  _numbers=() _names=() _whats=()
  while IFS='|' read -r name value own; do
    _numbers+=("$name") _names+=("$value") _whats+=("$own")
  done < <(sed -nE 's/^ *if stage ([0-9]+) ([a-z_]+) "([^"]*)".*/\1|\2|\3/p' <<<"$_text")
  while (($#)); do
    case $1 in
      --help | -h) _help; _current=; exit 0 ;;
      --*=*) name=${1%%=*} value=${1#*=}; shift ;;
      --*)
        name=$1; shift
        if [[ $(_value "${name#--}") =~ ^(true|false)$ ]]; then
          value=true
          if [[ ${1-} =~ ^(true|false)$ ]]; then value=$1; shift; fi
        elif (($# == 0)) || [[ $1 == --* ]]; then
          _is_option "${name#--}" || _unknown "$name"
          _die "option $name needs a value"
        else
          value=$1; shift
        fi ;;
      *) _die "unexpected argument $1; options look like --stage 0 (--help lists them)" ;;
    esac
    name=${name#--} name=${name//-/_}
    _is_option "$name" || _unknown "--$name"
    printf -v "$name" '%s' "$value"
  done
  _first=$(_stage_number "$stage" --stage) || exit 2
  _last=$(_stage_number "$stop_stage" --stop_stage) || exit 2
  [[ $nj =~ ^[1-9][0-9]*$ ]] || _die "--nj $nj: give a number from 1 up"
  [[ $ngpu =~ ^[0-9]+$ ]] || _die "--ngpu $ngpu: give a number from 0 up"
  if [[ -z $tag ]]; then tag=$(basename "${train_config:-run}" .yaml); tag=${tag#train_}; fi
  [[ $tag =~ ^[A-Za-z0-9._-]+$ ]] || _die "--tag $tag: use letters, digits, dots, dashes and underscores"
  for name in pretrain_config train_config decode_config; do
    if [[ " ${_options//$'\n'/ } " == *" $name "* && -n $(_value "$name") && ! -f $(_value "$name") ]]; then
      _die "--$name $(_value "$name"): no such file; there are $(printf '%s ' conf/*.yaml)"
    fi
  done
  exp=$expdir/$tag
  read -ra overrides <<<"$set"
  export exp overrides
  recipe_command="./$_recipe${_args[*]:+ ${_args[*]}}"
  trap '_exit $?' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

stage() { # NUMBER NAME "what": true if the stage is to run; everything until the next stage goes to its log as well
  local number=$1 name=$2 what=$3 body key stamp
  _finish
  ((number >= _first && number <= _last)) || return 1
  body=$(awk -v start="^ *if stage $number " '$0 ~ start {inside = 1; next} inside && /^fi/ {exit} inside' <<<"$_text") || _die "stage $number: cannot read its body"
  if [[ $dry_run == true ]]; then
    printf 'stage %s (%s): %s\n%s\n' "$number" "$name" "$what" "$body"
    return 1
  fi
  key=$(_key "$body") || _die "stage $number: cannot tell its options"
  # what does not write into exp is shared by all runs
  stamp=data/.done/$number.$name
  if [[ $body == *\$exp* ]]; then stamp=$exp/.done/$number.$name; fi
  if [[ $force == false && $_ran == false && -f $stamp && $(<"$stamp") == "$key" ]]; then
    echo "stage $number ($name): finished before with these options, skipped (--force runs it again)"
    return 1
  fi
  _log=$exp/log/$number.$name.log
  mkdir -p "$exp/log" || _die "stage $number: cannot make $exp/log"
  rm -f "$stamp" || _die "stage $number: cannot remove $stamp"
  echo "stage $number ($name): $what"
  exec 3>&1 4>&2 || _die "stage $number: cannot redirect"
  exec > >(exec 4>&-; trap '' INT; exec tee "$_log" >&3) 2>&1 || _die "stage $number: cannot write $_log"
  _tee=$!
  _current="$number $name" _key=$key _stamp=$stamp _ran=true
  return 0
}

need() { # FILE STAGE: stop with the name of the stage that makes a missing file
  [[ -e $1 ]] && return
  echo "error: $1 is missing; run stage $(_stage_number "$2" need) ($2) first: $recipe_command --stage $2" >&2
  exit 1
}

_finish() { # close the log of the stage that has ended and mark it as finished
  [[ -n $_current ]] || return 0
  exec 1>&3 2>&4 3>&- 4>&-
  wait "$_tee" || _die "cannot write $_log"
  mkdir -p "$(dirname "$_stamp")" || _die "cannot write $_stamp"
  printf '%s\n' "$_key" >"$_stamp.tmp" || _die "cannot write $_stamp"
  mv "$_stamp.tmp" "$_stamp" || _die "cannot write $_stamp"
  _current=
}

_exit() { # EXIT trap: the last stage is finished, or the one that failed is told
  local status=$1 number name
  trap - EXIT
  if [[ $status == 0 ]]; then _finish; exit 0; fi
  [[ -n $_current ]] || exit "$status"
  read -r number name <<<"$_current"
  exec 1>&3 2>&4 3>&- 4>&-
  wait "$_tee" || true
  if [[ $status == 130 || $status == 143 ]]; then
    echo "stage $number ($name): stopped; go on with: $(_again "$number")" >&2
    exit "$status"
  fi
  { echo "stage $number ($name) failed with exit code $status, its log $_log ends with:"
    tail -n 12 "$_log" | sed 's/^/  /'
    echo "after mending it, go on with: $(_again "$number")"; } >&2
  exit "$status"
}

_again() { # the same command, from a stage
  local words=() skip=false word
  for word in "${_args[@]}"; do
    if $skip; then skip=false; continue; fi
    case $word in
      --stage) skip=true ;;
      --stage=*) ;;
      *) words+=("$(printf '%q' "$word")") ;;
    esac
  done
  echo "./$_recipe ${words[*]:+${words[*]} }--stage $1"
}

_key() { # what a stage's result depends on: its body, the options it names, and the files those options name
  local name value
  { printf '%s\n' "$1"
    for name in $_options; do
      [[ $1 =~ \$\{?${name}[^a-z_] || ( $name == set && $1 == *overrides* ) ]] || continue
      value=$(_value "$name")
      printf '%s=%s\n' "$name" "$value"
      if [[ -f $value ]]; then cat "$value"; fi
    done; } | sha256sum | cut -c1-64
}

_stage_number() { # a stage's number from its number or name
  local place
  for place in "${!_numbers[@]}"; do
    if [[ $1 == "${_numbers[place]}" || $1 == "${_names[place]}" ]]; then echo "${_numbers[place]}"; return; fi
  done
  if [[ $1 == 999 ]]; then echo 999; return; fi
  echo "error: $2 $1: no such stage; there are $(for place in "${!_numbers[@]}"; do printf '%s %s, ' "${_numbers[place]}" "${_names[place]}"; done | sed 's/, $//')" >&2
  return 2
}

_is_option() { [[ " ${_options//$'\n'/ } " == *" ${1//-/_} "* ]]; }
_value() { local -n _named=${1//-/_} 2>/dev/null && printf '%s' "${_named-}"; }
_unknown() { _die "unknown option ${1//_/_}; there are $(tr '\n' ' ' <<<"$_options" | sed -E 's/([a-z_]+)/--\1/g')"; }

_help() {
  local name place
  sed -nE '2,/^[^#]/{s/^# ?//p}' "$_recipe"
  printf '\noptions, with their values now:\n'
  for name in $_options; do
    printf '  --%-16s %-28s %s\n' "$name" "$(_value "$name")" "$(cat "$_recipe" "$_root/utils/recipe.sh" | sed -nE "s/^$name=[^#]*# *(.*)/\1/p" | head -n 1)"
  done
  printf '\nstages:\n'
  for place in "${!_numbers[@]}"; do printf '  %s %-10s %s\n' "${_numbers[place]}" "${_names[place]}" "${_whats[place]}"; done
}

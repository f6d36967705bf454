# shellcheck shell=bash disable=SC2154,SC2016
# Stages of a recipe, each written from the start of the line in run.sh or in a file that it sources:
#   if stage 1 fbank "log mel features" dump; then
#     python -m ...
#   fi
# The words are number, name, title and folder of the results. A fifth word names the first stage that reads the results, where that is not
# the next stage.
# The body is not a condition, so errexit holds in it: its first failure ends the recipe. Its output goes to the terminal and to
# $exp/log/<number>.<name>.log. A stage that ran to its end leaves a stamp in the folder of its results. It is skipped as long as its
# commands, the variables and config files in them, and the stages before it stay the same.

_running='' _where='' _problem='' _ran=() _stamps=() _readers=()

stage() {  # number name title folder [reader]: returns true if the body is to be run
  _end_stage
  (($# == 4 || $# == 5)) && [[ " ${_names[*]} " == *" $2 "* ]] ||
    die "$recipe: write from the line's start \`if stage NUMBER NAME \"TITLE\" FOLDER; then\`"
  [[ -v _variables ]] || _variables=$(compgen -v)  # at the first stage, so without the variables that bodies set later
  local commands i before=() ran=false
  _number=$1 _name=$2 _stamp=$4/.$2.done _log=$exp/log/$1.$2.log
  for i in "${!_stamps[@]}"; do
    if ! _comes_before "$_name" "${_readers[i]}"; then before+=("${_stamps[i]}") ran=${ran/false/${_ran[i]}}; fi
  done
  _stamps+=("$_stamp") _readers+=("${5:-}") _ran+=(false)
  ((_first <= _number && _number <= _last)) || return 1
  commands=$(sed -n "/^if stage $1 $2 /,/^fi/{/^if stage/d;/^fi/d;p}" <<<"$_text")
  _fingerprint=$(_fingerprint_of "$commands") || die "stage $1 $2: a config file that it names cannot be read"
  if [[ $force == false && $ran == false ]] && _is_finished "${before[@]}"; then
    echo "stage $1 $2: finished before with the same options, skipped (--force runs it again)"
    return 1
  fi
  _ran[-1]=true
  commands=$(_expand "$commands") || die "stage $1 $2: its commands cannot be read"
  echo "stage $1 $2: $3"
  if [[ $dry_run == true ]]; then
    sed -E '/^ *(need|find_prepared) /d; s/^( *)run_cmd /\1/' <<<"$commands"
    return 1
  fi
  _open_log || die "$_log: cannot be written; see --expdir"
  printf '# %s\n%s\n' "$(date '+%F %T')" "$commands" >&9
  rm -f "$_stamp" || die "$_stamp: cannot be removed"
  _running=true SECONDS=0
}

_comes_before() {  # stage reader: whether the stage comes before the reader of some results; false without a reader
  local name
  for name in "${_names[@]}"; do
    if [[ $name == "$2" ]]; then return 1; fi
    if [[ $name == "$1" ]]; then [[ $2 ]] && return; fi
  done
  return 1
}

need() {  # path source: ends the recipe if a path that a stage reads is missing; source is the stage or the option that gives it
  [[ ! -e $1 ]] || return 0
  if [[ $2 == --* && ! $1 ]]; then
    _problem="$2: missing; say with it where the corpus is$(_how_to_fetch "${2#--}")"
  elif [[ $2 == --* ]]; then
    _problem="$2 $1: no such file or folder; say where it is with $2$(_how_to_fetch "${2#--}")"
  else
    _problem="$1: missing; stage $2 makes it: $command --stage $2 --stop_stage $2 --force"
  fi
  exit 1
}

_how_to_fetch() {  # option: prints the download command for its corpus from the header of run.sh
  sed -nE "/^# +.*m2asr\.bin\.download ${1/#corpus/}/{s/^# +/, or fetch it: /p;q}" "$recipe"
}

_open_log() {  # file 9 is the lock, since two runs of a stage would write the same files; 3 and 4 are the terminal
  mkdir -p "$exp/log" || return
  { : >>"$_log"; } 2>/dev/null || return
  exec 9>>"$_log" 3>&1 4>&2
  flock -n 9 || die "$_log: this stage is being run by another process; wait for it, or choose another --tag"
  [[ ! -t 2 ]] || export M2ASR_PROGRESS=1 COLUMNS LINES  # standard error becomes a pipe, but progress bars still reach the terminal
  exec > >(trap '' INT TERM HUP && exec tee -pa "$_log") 2>&1  # tee outlives Ctrl-C, to log the messages of interrupted commands
  _tee=$!
}

_close_log() {
  exec 1>&3 2>&4 3>&- 4>&-
  wait "$_tee" || true
  sed -Ei 's/.*\r(.)/\1/' "$_log" || true  # leaves the last state of a progress bar; on a full disk the log stays as it is
  exec 9>&-
}

_end_stage() {
  [[ $_running ]] || return 0
  _close_log
  _running=
  echo "stage $_number $_name: done in $SECONDS s"
  if ! { mkdir -p "$(dirname "$_stamp")" && echo "$_fingerprint" >"$_stamp.tmp" && mv "$_stamp.tmp" "$_stamp"; }; then
    die "$_stamp: cannot be written"
  fi
}

_is_finished() {  # stamps of the stages before: whether the stage has its stamp, which is not older than these
  local before
  [[ -e $_stamp && $(<"$_stamp") == "$_fingerprint" ]] || return 1
  for before in "$@"; do
    [[ ! $before -nt $_stamp ]] || return 1
  done
}

_variables_in() {  # commands: prints the variables of run.sh that they use
  grep -oE '\$\{?[a-z][a-z0-9_]*' <<<"$1" | tr -d '{$' | sort -u | grep -Fxf <(echo "$_variables") || true
}

_fingerprint_of() {  # commands: prints a hash of them, of the values of their variables and of the configs that they name
  local name text=$1 file
  for name in $(_variables_in "$1"); do
    [[ $name =~ ^(nj|ngpu|nproc|mirror|command)$ ]] || text+=$'\n'$(declare -p "$name")  # these five do not change the results
  done
  while read -r file; do
    [[ ! -f $file ]] || text+=$'\n'$(<"$file") || return 1
  done < <(grep -oE '"[^"]+\.yaml"|[^" ]+\.yaml' <<<"$text" | tr -d '"')
  sha256sum <<<"$text"
}

_expand() {  # commands: prints them with the values of their variables
  local _rest=$1 _out='' _match _variable _item _items
  local _pattern='"\$\{([a-z][a-z0-9_]*)\[@\]\}"|\$\{([a-z][a-z0-9_]*)\}|\$([a-z][a-z0-9_]*)'
  while [[ $_rest =~ $_pattern ]]; do
    _match=${BASH_REMATCH[0]} _variable=${BASH_REMATCH[1]}${BASH_REMATCH[2]}${BASH_REMATCH[3]}
    _out+=${_rest%%"$_match"*}
    _rest=${_rest#*"$_match"}
    if grep -qxF "$_variable" <<<"$_variables"; then
      local -n _value=$_variable
      _items=()
      for _item in "${_value[@]}"; do
        if [[ $_match == '"'* && $_item == *' '* ]]; then _items+=("\"$_item\""); else _items+=("$_item"); fi
      done
      _out+=${_items[*]}
    else
      _out+=$_match
    fi
  done
  echo "$_out$_rest"
}

_on_exit() {
  local code=$?
  trap - EXIT INT TERM HUP
  if [[ ! $_running ]]; then
    ((code == 0 || code == 2)) || [[ ! $_where ]] || echo "error: $_where" >&2
    exit "$code"
  fi
  if ((code == 0)); then
    _end_stage
    exit 0
  fi
  _close_log
  local again="$command --stage $_name${stop_stage:+ --stop_stage $stop_stage}"
  if [[ $_problem ]]; then
    echo "error: $_problem" | tee -a "$_log" >&2
  elif ((code == 137)); then
    echo "error: stage $_number $_name was killed (exit code 137), most likely since memory ran out: lower batching.seconds of the config," \
      "or --nj or --nproc; then: $again" | tee -a "$_log" >&2
  elif ((code == 132 || code == 134 || code == 135 || code == 136 || code == 139)); then
    echo "error: stage $_number $_name crashed (signal $((code - 128))), a fault of a library or of the machine; see $_log," \
      "check the installation with: make check; to go on: $again" | tee -a "$_log" >&2
  elif ((code == 129 || code == 130 || code == 143)); then
    echo "stage $_number $_name: interrupted; go on with: $again" | tee -a "$_log" >&2
  else
    printf '\nlast lines of %s:\n' "$_log" >&2
    tac "$_log" | sed '/^# [0-9-]* [0-9:]*$/q' | tac | tail -n 10 | sed 's/^/  | /' >&2  # only lines of this run
    echo "error: stage $_number $_name failed, exit code $code${_where:+ ($_where)}; when it is mended: $again" | tee -a "$_log" >&2
  fi
  exit "$code"
}

trap '_where="${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND"' ERR
trap _on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# shellcheck shell=bash disable=SC2034,SC2154
# Options of a recipe: the variables below, and every variable that run.sh assigns before `parse_options "$@"`. run.sh may also assign those
# below. The assigned value is the default and gives the type (true or false: a flag; a whole number); the comment is the help.
stage=                          # first stage to run, number or name
stop_stage=                     # last stage to run, number or name
ngpu=0                          # number of GPUs to use
nproc=1                         # processes that train without GPUs and share each step; auto: one per core
nj=$(nproc)                     # number of processes for data, features and, without GPUs, decoding
fbank_config=conf/fbank.yaml    # config of the features
pretrain_config=                # config of the pretraining; empty: none
init_from=                      # model.pt of another run to start from; after it OLD=NEW renames its parameters; empty: none
phones=                         # reader of text.phones: pypinyin, espeak or letters; default: by language
codes_config=                   # config of the run whose states become text.codes, in EXPDIR/<its name>; empty: none
codes_tap=output                # its states: frontend, block1, block2 ... or output
codes_clusters=500              # number of codes
train_config=                   # config of the training: streams, objectives, how they are merged
decode_config="conf/decode.yaml conf/decode_lm.yaml"  # config of the search, or configs of several searches
min_words=1                     # test utterances of fewer words are not scored
by=                             # group of additional scores: spk, lang, source or another table utt2... of the sets
set=                            # changes to the training config: --set "a.b=c d.e=[f, g]"; may be given several times
tag=                            # name of the run; default: that of the training config
dump=dump                       # folder of the features
expdir=exp                      # folder of the runs
allow_pipes=false               # run the commands that wav.scp holds; read them before
dry_run=false                   # print the commands without running them
force=false                     # run finished stages again

declare -A _help=()
_options=() _arguments=() _numbers=() _names=() _titles=() _text=''

# Sets the options, and the variables that follow from them: exp, the folder of this run; overrides, the changes of --set; configs, the
# configs of the trainings; init, the option with the model to start from; pipes, the option --allow_pipes if it is given; reading, those of
# the phones and codes; codes_exp, the folder of the run whose states become codes; decode_configs and searches, the configs and names of
# the searches; command, the command line that repeats this run.
parse_options() {
  local name value
  _read_options <(sed -n '/recipe\.sh$/,/^parse_options/p' "$recipe")
  _read_options "$utils/options.sh"
  _read_recipe
  while (($#)); do
    case $1 in
      -h | --help) _print_help; exit 0 ;;
      --*) ;;
      *) die "unexpected argument \`$1\`; options: ${_options[*]/#/--}" ;;
    esac
    name=${1%%=*} name=${name#--} name=${name//-/_}
    [[ " ${_options[*]} " == *" $name "* && $name =~ ^[a-z0-9_]+$ ]] || die "unknown option ${1%%=*}; options: ${_options[*]/#/--}"
    if [[ $1 == *=* ]]; then
      value=${1#*=}
    elif [[ ${!name} =~ ^(true|false)$ ]]; then
      value=true
    elif (($# > 1)) && [[ $2 != --* ]]; then
      value=$2
      shift
    else
      die "option $1: its value is missing; write $1 VALUE or $1=VALUE"
    fi
    shift
    [[ ! ${!name} =~ ^(true|false)$ || $value =~ ^(true|false)$ ]] || die "option --$name: \`$value\` is neither true nor false"
    [[ ! ${!name} =~ ^[0-9]+$ || $value =~ ^[0-9]+$ || $name=$value == nproc=auto ]] || die "option --$name: \`$value\` is not a whole number from 0"
    [[ $name != set || ! $set ]] || value="$set $value"
    printf -v "$name" %s "$value"
    [[ $name =~ ^(stage|stop_stage|dry_run|force)$ ]] || _arguments+=("--$name $(printf %q "$value")")
  done
  command="$recipe${_arguments[*]:+ ${_arguments[*]}}"
  _check_options
}

_read_options() {  # file: its assignments are options; where two files have a help for an option, the first counts
  local line name
  while read -r line; do
    [[ $line =~ ^([a-z][a-z0-9_]*)= ]] || continue
    name=${BASH_REMATCH[1]}
    [[ -v _help[$name] ]] || _options+=("$name")
    [[ ! $line =~ [[:space:]]#[[:space:]]*(.*)$ || ${_help[$name]:-} ]] || _help[$name]=${BASH_REMATCH[1]}
    : "${_help[$name]:=}"
  done < <(sed '/^declare/q' "$1")
}

_read_recipe() {  # reads run.sh, with the files that it sources in place, into _text; numbers, names and titles of all stages into arrays
  local line number name title
  while IFS= read -r line; do
    if [[ $line =~ ^\.\ ([^\ ]+)$ && -r ${BASH_REMATCH[1]} ]]; then line=$(<"${BASH_REMATCH[1]}"); fi
    _text+=$line$'\n'
  done <"$recipe"
  while IFS=$'\t' read -r number name title; do
    _numbers+=("$number") _names+=("$name") _titles+=("$title")
  done < <(sed -nE 's/^if stage ([0-9]+) ([a-z0-9_]+) "([^"]*)".*; then$/\1\t\2\t\3/p' <<<"$_text")
}

_check_options() {
  local name file files problem
  _first=${_numbers[0]} _last=${_numbers[-1]}
  [[ ! $stage ]] || _find_stage stage _first
  [[ ! $stop_stage ]] || _find_stage stop_stage _last
  ((_first <= _last)) || die "--stop_stage $stop_stage comes before --stage $stage; nothing would run"
  for name in "${_options[@]}"; do
    [[ $name == *_config ]] || continue
    read -ra files <<<"${!name}"
    [[ $name == decode_config || ${#files[@]} -lt 2 ]] || files=("${!name}")
    for file in "${files[@]}"; do
      [[ ! -L $file || -e $file ]] || die "--$name $file: a link to $(readlink "$file"), which is missing; copy recipes with cp -rL"
      [[ -f $file && -r $file ]] || die "--$name $file: no such file; there is $(echo conf/"${name%_config}"*.yaml)"
    done
  done
  [[ ${decode_config// /} ]] || die "--decode_config: missing; there is $(echo conf/decode*.yaml)"
  [[ $expdir ]] || die "--expdir: missing; give a folder"
  [[ ! -e $expdir || -d $expdir ]] || die "--expdir $expdir: it is no folder"
  [[ ! -e $dump || -d $dump ]] || die "--dump $dump: it is no folder"
  [[ $train_config || $tag ]] || die "--train_config: missing; there is $(echo conf/train*.yaml)"
  [[ $tag ]] || tag=$(basename "$train_config" .yaml)
  [[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9._+=-]*$ && ${#tag} -le 100 ]] ||
    die "--tag $tag: a folder name begins with a letter, digit or _, and has letters, digits and . _ + = -, 100 at most"
  problem=$(python_problem)
  [[ $dry_run == true || ! $problem ]] || die "$problem"
  exp=$expdir/$tag
  read -ra decode_configs <<<"$decode_config"
  searches=()
  for file in "${decode_configs[@]}"; do
    name=$(yaml_value "$file" name)
    [[ $name =~ ^[A-Za-z0-9_][A-Za-z0-9._+=@,-]*$ && ${#name} -le 100 ]] ||
      die "$file: name: $name: a folder name begins with a letter, digit or _, and has letters, digits and . _ + = @ , -, 100 at most"
    searches+=("$name")
  done
  configs=("$train_config") init=() pipes=() reading=() codes_exp=
  [[ $allow_pipes == false ]] || pipes=(--allow_pipes)
  [[ ! $pretrain_config ]] || configs+=("$pretrain_config") init=(--init_from "$exp/pretrain/model.pt")
  if [[ $init_from ]]; then
    [[ ! $pretrain_config ]] || die "--init_from: the training starts from the pretrained model already; take --pretrain_config away"
    read -ra files <<<"$init_from"
    [[ -f ${files[0]-} ]] || die "--init_from ${files[0]-}: no such file; give the model.pt of another run"
    init=(--init_from "${files[@]}")
  fi
  [[ ! $phones ]] || reading+=(--how "$phones")
  if [[ $codes_config ]]; then
    configs+=("$codes_config") codes_exp=$expdir/$(basename "$codes_config" .yaml)
    reading+=(--codes_exp "$codes_exp" --tap "$codes_tap" --clusters "$codes_clusters")
  fi
  _split_set
}

_split_set() {  # splits --set into changes, one per word; a word without `key=` belongs to the value before it, as in a=[b, c]
  local word words
  overrides=()
  read -d '' -ra words <<<"$set" || true  # it may have several lines
  for word in "${words[@]}"; do
    if [[ $word =~ ^[A-Za-z0-9_.]+= || ! ${overrides[*]} ]]; then overrides+=("$word"); else overrides[-1]+=" $word"; fi
  done
}

_find_stage() {  # option variable: sets the variable to the number of the stage that the option names
  local i
  for i in "${!_numbers[@]}"; do
    if [[ ${!1} == "${_numbers[i]}" || ${!1} == "${_names[i]}" ]]; then
      printf -v "$2" %s "${_numbers[i]}"
      return
    fi
  done
  die "--$1 ${!1}: no such stage; stages: $(paste -d' ' <(printf '%s\n' "${_numbers[@]}") <(printf '%s\n' "${_names[@]}") | paste -sd,)"
}

_print_help() {
  local name i
  sed -n '2,${/^#/!q;s/^# \{0,1\}//p}' "$recipe"
  printf '\nOptions (--name value or --name=value), with their defaults:\n'
  for name in "${_options[@]}"; do
    printf '  --%-40s %s\n' "$name ${!name}" "${_help[$name]}"
  done
  printf '\nStages:\n'
  for i in "${!_numbers[@]}"; do
    printf '  %s %-12s %s\n' "${_numbers[i]}" "${_names[i]}" "${_titles[i]}"
  done
}

#!/usr/bin/env bash
# The GPU tests, then experiment=imagenet on ResNet-50 and ViT-Tiny, on a machine with a GPU and no network.
#
#   experiments/gpu.sh pack FOLDER             here: put code, photographs, weights and wheels into one folder
#   FOLDER/project/experiments/gpu.sh run [overrides of the sweeps]    there: a quarter of an hour, and again to go on
#
# The machine needs Python 3.12 with torch, torchvision, numpy, pandas, pyarrow, scipy, scikit-learn, scikit-image,
# matplotlib, seaborn, jinja2, rich, pyyaml, requests, huggingface_hub and pytest; FOLDER/wheels has the rest. `run`
# says what is missing. It reads these variables:
#
#   OUT     where archives and logs are written, each below 16 MiB; default: FOLDER/out
#   WORK    the store and the results, which a second run goes on from; default: FOLDER/work. Archives of cells
#           that are put into FOLDER/kept/ are unpacked into it: to go on on another machine
#   JOBS    cells at once; default 4
#   SCALE   day, or smoke: two networks and two photographs a cell, on the CPU if there is no GPU; to try the script
#   LIMIT_S seconds in all, of which the last 60 are for archives and reports; default 900. If a command may take ten
#           minutes, say 570, and start again
#   TESTS_S, RESNET_S, VIT_S    seconds of each stage; default 180, 480 and 180
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)

# Pure Python but for safetensors, whose wheel is for every Python from 3.10.
wheels=(captum cloudpickle filelock hydra-core hydra-joblib-launcher joblib lightning-utilities omegaconf platformdirs pooch
  pytorch-lightning safetensors timm torchmetrics tqdm)
travels=$((64 * 2**20)) # bytes that may travel in all
code=(run.py conf src tests experiments docs pyproject.toml constraints.txt COMMIT README.md LICENSE)

fail() {
  echo "$*" >&2
  exit 1
}

pack() {
  local folder=$1 data=${EVIDENT_DATA:-$root/data} python=${PYTHON:-$root/.venv/bin/python} needed size
  for needed in imagenet/{val,boxes.csv,synsets.txt} weights/{resnet50,vit_tiny_patch16_224,squeezenet1_1}.safetensors; do
    test -e "$data/$needed" || fail "EVIDENT_DATA=$data has no $needed; set it to the folder of data (docs/data.md)"
  done
  test ! -e "$folder" || test -e "$folder/weights.tar.xz" ||
    fail "$folder is there and was not made by this script; name another folder, which will be replaced next time"
  test -z "$(git -C "$root" status --porcelain -- "${code[@]}")" ||
    fail "only what is committed travels, and there are changes; commit them first (git status)"
  rm -rf "$folder"
  mkdir -p "$folder"/{project,wheels,data}
  folder=$(cd "$folder" && pwd)
  git -C "$root" archive HEAD "${code[@]}" | tar -x -C "$folder/project"
  # All photographs, so that accuracies and the digest that names the data set are those of every other machine.
  cp -rL "$data/imagenet" "$folder/data/"
  chmod -R u+w "$folder/data"
  # ResNet-50 is compressed by codebooks: its file shrinks to a seventh.
  XZ_OPT=-2 tar -cJf "$folder/weights.tar.xz" -C "$data" weights/{resnet50,vit_tiny_patch16_224,squeezenet1_1}.safetensors
  local pinned=() name
  for name in "${wheels[@]}"; do pinned+=("$(grep -i "^$name==" "$root/constraints.txt")"); done
  "$python" -m pip download --quiet --no-deps --python-version 3.12 --implementation cp --only-binary=:all: \
    --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --dest "$folder/wheels" "${pinned[@]}"
  # Neither has a wheel to download.
  "$python" -m pip wheel --quiet --no-deps --wheel-dir "$folder/wheels" \
    "$(grep '^antlr4-python3-runtime==' "$root/constraints.txt")" "$folder/project"
  rm -rf "$folder"/project/build "$folder"/project/src/*.egg-info
  du -sh "$folder"/* "$folder"
  size=$(find "$folder" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
  ((size <= travels)) || fail "$folder has $size bytes, and $travels may travel; make it smaller"
}

install_missing() {
  # Not a venv: if python3 belongs to one itself, a new one does not see its packages.
  local site=$work/site name
  mkdir -p "$site"
  export PYTHONPATH="$root/src:$site"
  "$python" - antlr4-python3-runtime evident "${wheels[@]}" << 'PYTHON' > "$work/missing.txt"
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        version(name)
    except PackageNotFoundError:
        print(name.replace("-", "_"))
PYTHON
  while read -r name; do
    compgen -G "$pack/wheels/$name-*.whl" > /dev/null ||
      fail "$name is not installed, and $pack/wheels has no wheel of it; pack again, or install it"
    "$python" -m pip install --quiet --no-index --no-deps --no-cache-dir --target "$site" "$pack/wheels/$name"-*.whl
  done < "$work/missing.txt"
  "$python" - << 'PYTHON'
import importlib, sys
missing = []
for name in ("torch torchvision numpy pandas pyarrow scipy sklearn skimage matplotlib seaborn jinja2 rich yaml PIL pytest "
             "captum hydra hydra_plugins.hydra_joblib_launcher pooch pytorch_lightning timm evident.cli").split():
    try:
        importlib.import_module(name)
    except ImportError as error:
        missing.append(f"{name} ({error})")
sys.exit(f"missing packages: {', '.join(missing)}; install them, or add their wheels to wheels/" if missing else 0)
PYTHON
}

say() {
  echo "$*" | tee -a "$out/log.txt"
}

# Print the seconds that a stage may take: at most `$1`, and `$2` less than are left of LIMIT_S; 0 if there are none.
seconds_of() {
  local left=$((limit - SECONDS - $2))
  echo $((left < 0 ? 0 : left < $1 ? left : $1))
}

archive() {
  test -d "$EVIDENT_STORE/cells" || return 0
  "$python" experiments/gpu_archive.py "$EVIDENT_STORE" "$work/results" "$out" > "$work/archives.txt" 2>&1 ||
    say "archives: not all are written: $(tail -n 1 "$work/archives.txt")"
}

# Compute the cells of a network, pack them, and see that there is a report. Cells that fail stop nothing.
sweep() {
  local seconds model=$2 command ended=0
  seconds=$(seconds_of "$1" 60)
  shift 2
  if ((seconds == 0)); then
    say "$model: no time is left; start again to go on"
    return
  fi
  command=("$python" run.py experiment=imagenet "scale=$scale" "model=$model" "seeds_by_model={}" logger=none
    "paths.results=$work/results/$model" "$@")
  { # in braces, so that bash does not report the end of a process that was killed
    timeout --signal=INT --kill-after=20 "$seconds" "${command[@]}" hydra/launcher=processes \
      "hydra.launcher.n_jobs=${JOBS:-4}" > "$work/$model.txt" 2>&1
  } 2> /dev/null || ended=$?
  tail -n 40 "$work/$model.txt" >> "$out/log.txt"
  case $ended in
    0) say "$model: complete" ;;
    124 | 137) say "$model: stopped after $seconds seconds; start again to go on" ;;
    *) say "$model: failed, or cells of it did (see log.txt)" ;;
  esac
  archive
  # A sweep that was stopped has written no report.
  seconds=$(seconds_of 60 20)
  if ((ended == 124 || ended == 137)); then
    ((seconds > 0)) && timeout "$seconds" "${command[@]}" task=report > "$work/$model.txt" 2>&1 ||
      say "$model: no report in $seconds seconds; the next run writes it $(tail -n 1 "$work/$model.txt")"
  fi
}

run() {
  pack=$(cd "$root/.." && pwd)
  work=${WORK:-$pack/work}
  out=${OUT:-$pack/out}
  scale=${SCALE:-day}
  limit=${LIMIT_S:-900}
  python=${PYTHON:-python3}
  test -e "$pack/weights.tar.xz" || fail "$pack has no weights.tar.xz; make a folder with experiments/gpu.sh pack FOLDER"
  mkdir -p "$work/data" "$out"
  work=$(cd "$work" && pwd)
  out=$(cd "$out" && pwd)
  say "$(date): started"
  install_missing
  if ! test -d "$work/data/weights"; then # moved, so that it is complete or absent
    rm -rf "$work/unpacked"
    mkdir "$work/unpacked"
    "$python" -m tarfile --filter data -e "$pack/weights.tar.xz" "$work/unpacked"
    mv "$work/unpacked/weights" "$work/data/"
    rmdir "$work/unpacked"
  fi
  ln -sfn "$pack/data/imagenet" "$work/data/imagenet"
  export EVIDENT_DATA=$work/data EVIDENT_STORE=$work/store CUBLAS_WORKSPACE_CONFIG=:4096:8 OMP_NUM_THREADS=1
  local kept
  for kept in "$pack"/kept/cells_*.zip; do
    test ! -e "$kept" || "$python" -m zipfile -e "$kept" "$EVIDENT_STORE"
  done
  say "torch $("$python" -c "import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU')")"
  cd "$root"
  if test "$scale" != smoke && ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    fail "no GPU: torch.cuda finds none; use SCALE=smoke to try this script without one"
  fi
  local seconds
  seconds=$(seconds_of "${TESTS_S:-180}" 60)
  if ! test -e "$work/tests_ended" && ((seconds > 0)); then
    local ended=0
    timeout --kill-after=10 "$seconds" "$python" -m pytest -q -m gpu -W default -p no:cacheprovider \
      tests/explainers/test_explainers_on_gpu.py tests/metrics/test_metrics_on_gpu.py > "$out/gpu_tests.txt" 2>&1 || ended=$?
    if ((ended == 124 || ended == 137)); then
      say "GPU tests: stopped after $seconds seconds; they start again next time, unless TESTS_S=0"
    else
      touch "$work/tests_ended"
      say "GPU tests: $(tail -n 1 "$out/gpu_tests.txt") (see gpu_tests.txt)"
    fi
  fi
  if test "$scale" = smoke; then
    sweep "${RESNET_S:-480}" squeezenet1_1 "$@"
  else
    sweep "${RESNET_S:-480}" resnet50 "$@"
  fi
  sweep "${VIT_S:-180}" vit_tiny_patch16_224 "$@"
  archive
  cat "$work/archives.txt"
  say "$(date): ended"
}

case ${1:-} in
  pack) pack "${2:?say where to: experiments/gpu.sh pack FOLDER}" ;;
  run) shift && run "$@" ;;
  *) sed -n '2,/^[^#]/{/^#/p}' "$0" && exit 2 ;;
esac

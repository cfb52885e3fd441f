#!/usr/bin/env bash
# The GPU tests, then experiment=imagenet on ResNet-50 and ViT-Tiny, on a machine with a GPU and no network.
#
#   experiments/gpu.sh pack FOLDER             here: put code, photographs, weights and wheels into one folder
#   FOLDER/project/experiments/gpu.sh run [overrides of the sweeps]    there: a quarter of an hour, and again to go on
#
# The machine needs Python 3.12 with torch, torchvision, numpy, pandas, pyarrow, scipy, scikit-learn, scikit-image,
# matplotlib, seaborn and pytest; FOLDER/wheels has the rest. `run` reads these variables:
#
#   OUT     where archives and logs are written, each below 16 MiB; default: FOLDER/out
#   WORK    the store and the results, which a second run goes on from; default: FOLDER/work. Archives of cells
#           that are put into FOLDER/kept/ are unpacked into it: to go on on another machine
#   JOBS    cells at once; default 4
#   SCALE   day, or smoke: two networks and two photographs a cell, on the CPU if there is no GPU; to try the script
#   TESTS_S, RESNET_S, VIT_S    seconds of each stage; default 180, 480 and 180
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)

pack() {
  local folder=$1 data=${EVIDENT_DATA:-$root/data} python=${PYTHON:-$root/.venv/bin/python}
  test -d "$data/imagenet/val" || { echo "EVIDENT_DATA=$data has no imagenet/val; set it to the folder of data" >&2; exit 1; }
  rm -rf "$folder"
  mkdir -p "$folder"/{project,wheels,data/imagenet/val}
  folder=$(cd "$folder" && pwd)
  git -C "$root" archive HEAD run.py conf src tests experiments pyproject.toml constraints.txt README.md LICENSE |
    tar -x -C "$folder/project"
  git -C "$root" rev-parse HEAD > "$folder/COMMIT"
  # The photographs that blocks 0 to 7 explain, and the last 100, which are held out: as conf/data/imagenet.yaml says.
  cp "$data"/imagenet/{boxes.csv,synsets.txt} "$folder/data/imagenet/"
  find -L "$data/imagenet/val" -name '*.JPEG' -printf '%f %P\n' | sort | cut -d' ' -f2 > "$folder/all.txt"
  { head -n 128 "$folder/all.txt"; tail -n 100 "$folder/all.txt"; } | while read -r file; do
    mkdir -p "$folder/data/imagenet/val/$(dirname "$file")"
    cp "$data/imagenet/val/$file" "$folder/data/imagenet/val/$file"
  done
  rm "$folder/all.txt"
  # The digest of all photographs names the data set, so that cells have the hash of a machine that has them all.
  "$python" -c "import sys; from evident.data.imagenet import source_of; print(source_of(sys.argv[1]))" "$data" \
    > "$folder/source.txt"
  # ResNet-50 is compressed by codebooks: its file shrinks to a seventh.
  XZ_OPT=-2 tar -cJf "$folder/weights.tar.xz" -C "$data" weights/{resnet50,vit_tiny_patch16_224,squeezenet1_1}.safetensors
  local names=(captum hydra-core omegaconf hydra-joblib-launcher joblib pytorch-lightning lightning-utilities torchmetrics
    safetensors timm pooch filelock) pinned=() name
  for name in "${names[@]}"; do pinned+=("$(grep -i "^$name==" "$root/constraints.txt")"); done
  "$python" -m pip download --quiet --no-deps --python-version 3.12 --implementation cp --only-binary=:all: \
    --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --dest "$folder/wheels" "${pinned[@]}"
  # Neither has a wheel to download.
  "$python" -m pip wheel --quiet --no-deps --wheel-dir "$folder/wheels" \
    "$(grep '^antlr4-python3-runtime==' "$root/constraints.txt")" "$folder/project"
  rm -rf "$folder"/project/build "$folder"/project/src/*.egg-info
  du -sh "$folder"/* "$folder"
}

install_missing() {
  # Not a venv: if python3 belongs to one itself, a new one does not see its packages.
  local site=$work/site name
  mkdir -p "$site"
  export PYTHONPATH="$root/src:$site"
  "$python" - << 'PYTHON' > "$work/missing.txt"
from importlib.metadata import PackageNotFoundError, version
for name in ("antlr4-python3-runtime captum evident filelock hydra-core hydra-joblib-launcher joblib lightning-utilities "
             "omegaconf pooch pytorch-lightning safetensors timm torchmetrics").split():
    try:
        version(name)
    except PackageNotFoundError:
        print(name.replace("-", "_"))
PYTHON
  while read -r name; do
    "$python" -m pip install --quiet --no-index --no-deps --no-cache-dir --target "$site" "$pack/wheels/$name"-*.whl
  done < "$work/missing.txt"
  "$python" - << 'PYTHON'
import importlib, sys
missing = []
for name in ("torch torchvision numpy pandas pyarrow scipy sklearn skimage matplotlib seaborn jinja2 rich yaml PIL pytest "
             "captum hydra pytorch_lightning timm evident.cli").split():
    try:
        importlib.import_module(name)
    except ImportError as error:
        missing.append(f"{name} ({error})")
sys.exit(f"missing packages: {', '.join(missing)}; install them, or add their wheels to wheels/" if missing else 0)
PYTHON
}

sweep() {
  # Return 0 if the sweep has ended, whatever single cells did, and 124 if its time is over.
  local seconds=$1 model=$2
  shift 2
  timeout --signal=INT --kill-after=20 "$seconds" "$python" run.py experiment=imagenet "scale=$scale" "model=$model" \
    "data.source=$(cat "$pack/source.txt")" seeds_by_model={} logger=none "paths.results=$work/results/$model" \
    hydra/launcher=processes "hydra.launcher.n_jobs=${JOBS:-4}" "$@" 2>&1 | tail -n 40 > "$out/$model.txt" ||
    echo "$model: stopped after $seconds seconds or failed (see $model.txt); start again to go on" | tee -a "$out/log.txt"
  # A sweep that was stopped has no report.
  timeout 60 "$python" run.py experiment=imagenet "scale=$scale" "model=$model" task=report \
    "data.source=$(cat "$pack/source.txt")" seeds_by_model={} logger=none "paths.results=$work/results/$model" "$@" \
    >> "$out/$model.txt" 2>&1 || echo "$model: no report (see $model.txt)" | tee -a "$out/log.txt"
}

run() {
  pack=$(cd "$root/.." && pwd)
  work=${WORK:-$pack/work}
  out=${OUT:-$pack/out}
  scale=${SCALE:-day}
  python=${PYTHON:-python3}
  mkdir -p "$work/data" "$out"
  date > "$out/log.txt"
  install_missing
  test -d "$work/data/weights" || "$python" -m tarfile -e "$pack/weights.tar.xz" "$work/data"
  test -d "$work/data/imagenet" || cp -r "$pack/data/imagenet" "$work/data/"
  export EVIDENT_DATA=$work/data EVIDENT_STORE=$work/store CUBLAS_WORKSPACE_CONFIG=:4096:8 OMP_NUM_THREADS=1
  for archive in "$pack"/kept/cells_*.zip; do
    test ! -e "$archive" || "$python" -m zipfile -e "$archive" "$EVIDENT_STORE"
  done
  "$python" -c "import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU')" |
    tee -a "$out/log.txt"
  cd "$root"
  if ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())" && test "$scale" != smoke; then
    echo "no GPU: torch.cuda finds none; use SCALE=smoke to try this script without one" >&2
    exit 1
  fi
  if ! test -e "$work/tests_ended"; then
    timeout --kill-after=10 "${TESTS_S:-180}" "$python" -m pytest -q -m gpu -W default -p no:cacheprovider \
      tests/explainers/test_explainers_on_gpu.py tests/metrics/test_metrics_on_gpu.py > "$out/gpu_tests.txt" 2>&1 &&
      touch "$work/tests_ended" || echo "GPU tests: failures, or out of time (see gpu_tests.txt)" | tee -a "$out/log.txt"
    tail -n 1 "$out/gpu_tests.txt" | tee -a "$out/log.txt"
  fi
  if test "$scale" = smoke; then
    sweep "${RESNET_S:-480}" squeezenet1_1 "$@"
  else
    sweep "${RESNET_S:-480}" resnet50 "$@"
  fi
  sweep "${VIT_S:-180}" vit_tiny_patch16_224 "$@"
  "$python" experiments/gpu_archive.py "$EVIDENT_STORE" "$work/results" "$out" | tee -a "$out/log.txt"
  date >> "$out/log.txt"
}

case ${1:-} in
  pack) pack "${2:?say where to: experiments/gpu.sh pack FOLDER}" ;;
  run) shift && run "$@" ;;
  *) sed -n '2,19p' "$0" && exit 2 ;;
esac

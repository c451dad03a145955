#!/usr/bin/env bash
# What has to be seen once on a machine with a GPU, most valuable first (docs/gpu.md says what each part is for and gets the figures).
#
#   xtask/gpu/check.sh [OUTPUT]      everything that this machine allows; logs go to OUTPUT (gpu-check-<date>)
#
# With Rust it is run in a checkout. Without, the parts that need no compiler are run with programs built elsewhere: put `kernels-check`
# (cargo build --release -p kernels-check) into the folder that NOCTURNE_PROGRAMS names, and have a Python with torch 2.11.0 (CUDA 13).
# Nothing is changed outside OUTPUT, the target folder and .nocturne. A part that fails does not keep the next ones from running.
set -uo pipefail
cd "$(dirname "$0")/../.."

output=${1:-gpu-check-$(date -u +%Y%m%dT%H%M%SZ)}
mkdir -p "$output"
programs=${NOCTURNE_PROGRAMS:-target/release}
device=${NOCTURNE_DEVICE:-0}
summary=""
failed=0

part() {
  local name=$1 began=$SECONDS
  shift
  echo "--- $name: $*"
  if "$@" 2>&1 | tee "$output/$name.log"; then
    summary+="  ok       $((SECONDS - began)) s  $name\n"
  else
    summary+="  FAILED   $((SECONDS - began)) s  $name\n"
    failed=$((failed + 1))
  fi
}
left_out() { summary+="  left out $1: $2\n"; }

# Whether the night before compiled its kernels once, and its trainers took them from there: they say so where they do not.
kernels_in_night() {
  local state=target/ci-night/.nocturne
  ls -l "$state/kernels" && [ -n "$(ls "$state/kernels")" ] || return 1
  # Its exit status is 0 where a line is found.
  ! grep -rn --include=log.txt --include=serve.log --include=kernels.log 'kernels:' "$state"
}

# The torch whose CUDA half is used: its folder lib, and NVIDIA's packages beside it.
torch=$(python3 -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent)' 2>/dev/null || true)
with_torch() { LD_LIBRARY_PATH="$torch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"; }
have_rust() { command -v cargo >/dev/null; }

# --- 1. the machine, and the kernels by themselves ---
part machine nvidia-smi
git rev-parse HEAD >"$output/commit.log" 2>/dev/null || true
if have_rust; then
  part build cargo build --release --package kernels-check --package nocturne
fi
if [ -x "$programs/kernels-check" ] && [ -n "$torch" ]; then
  part kernels-compile with_torch "$programs/kernels-check" compile
  part kernels-compare with_torch "$programs/kernels-check" device "$device"
  part kernels-measure with_torch "$programs/kernels-check" measure "$device"
  mkdir -p "$output/kernels"
  part kernels-prepare with_torch "$programs/kernels-check" prepare "$output/kernels" "$device"
  export NOCTURNE_KERNEL_CACHE
  NOCTURNE_KERNEL_CACHE=$(realpath "$output/kernels")
  part kernels-from-cache with_torch "$programs/kernels-check" device "$device"
  unset NOCTURNE_KERNEL_CACHE
else
  left_out kernels "no $programs/kernels-check, or no Python with torch"
fi

# --- 2. tokens per second, next to PyTorch with the same shapes, three times in turn ---
shape=(--depth 8 --dim 512 --head-dim 128 --vocab 8192 --seq 2048 --batch 64 --steps 30 --dtype bf16)
peer=xtask/reference/throughput.py
nocturne="$programs/nocturne"
for round in 1 2 3; do
  if [ -f $peer ] && [ -n "$torch" ]; then
    part "torch-$round" python3 $peer "${shape[@]}" --compile
  else
    left_out "torch-$round" "no $peer, or no Python with torch"
  fi
  if have_rust && [ -x "$nocturne" ] && "$nocturne" bench throughput --help >/dev/null 2>&1; then
    part "trainer-$round" "$nocturne" bench throughput "${shape[@]}" --device "cuda:$device"
  else
    left_out "trainer-$round" "no Rust, or no $nocturne that knows bench throughput"
  fi
done

# --- 3. to 5. the sandbox with the GPU visible, and a short night with its evaluations ---
if have_rust; then
  part doctor "$nocturne" doctor
  part escapes cargo test --release --package nocturne --test escapes -- --nocapture
  part night cargo xtask night
  part kernels-in-night kernels_in_night
else
  left_out "doctor, escapes, night" "no Rust: edited code is compiled in each of them"
fi

printf '\n%b' "$summary"
echo "logs: $output"
exit $((failed > 0))

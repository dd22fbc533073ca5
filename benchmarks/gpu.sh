#!/usr/bin/env bash
# Everything that needs a GPU, in one go of less than ten minutes: correctness first, then the tables.
# Writes what it prints, and the tables as JSON, to $OUT (default: benchmarks/gpu/).
#   bash benchmarks/gpu.sh
set -uo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-benchmarks/gpu}; mkdir -p "$out"; out=$(realpath "$out")
export PYTHONPATH=$PWD
{
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
    python -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())'
    python -m pytest -q -m gpu tests
    for precision in fp32 tf32 bf16; do
        python -m seq.doctor configs/names.yaml "train.precision=$precision"
        python -m seq.doctor configs/speeches.yaml "train.precision=$precision"
    done
    cd "$out"
    python -m benchmarks.gru
    for precision in fp32 tf32 bf16; do
        python -m benchmarks.pipeline "$PYTHONPATH/configs/names.yaml" "train.precision=$precision"
        python -m benchmarks.pipeline "$PYTHONPATH/configs/speeches.yaml" "train.precision=$precision"
    done
    python -m benchmarks.sync "$PYTHONPATH/configs/speeches.yaml"
} 2>&1 | tee "$out/gpu.txt"

#!/usr/bin/env bash
# Does this machine's GPU keep lockstep? Prints card, driver and versions, then the doctor's table for both models in
# fp32 and bf16, twice: equal digests in both passes mean that one process repeats itself, equal rows that two processes
# (on one card: sharing it) give what one gives. Commit the output as benchmarks/gpu_lockstep-CARD-DATE.txt:
#   bash benchmarks/gpu_lockstep.sh | tee benchmarks/gpu_lockstep-h100-2026-12-01.txt
set -euo pipefail
cd "$(dirname "$0")/.."
date -u +%F
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
python -c "import torch; print('torch', torch.__version__, 'CUDA', torch.version.cuda, 'cuDNN', torch.backends.cudnn.version())"
for pass in 1 2; do
  for config in names speeches; do
    for precision in fp32 bf16; do
      echo "== pass $pass: $config, $precision"
      python -m seq.doctor "configs/$config.yaml" "train.precision=$precision" || true
    done
  done
done
python -m seq.benchmark sync configs/names.yaml

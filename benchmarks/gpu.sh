#!/usr/bin/env bash
# Everything that needs a GPU; see benchmarks/gpu.py.
set -euo pipefail
cd "$(dirname "$0")/.."
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
python -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())'
exec python -m benchmarks.gpu "$@"

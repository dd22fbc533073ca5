#!/usr/bin/env bash
# Everything that needs a GPU; see benchmarks/gpu.py. PYTHON=... chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-$(command -v python || command -v python3)}
nvidia-smi --query-gpu=name,driver_version,memory.total,compute_mode --format=csv,noheader
"$python" -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())'
exec "$python" -m benchmarks.gpu "$@"

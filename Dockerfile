# lockstep with the CUDA build of torch: docker build -t lockstep . && docker run --rm --gpus all --shm-size=2g -v "$PWD/runs:/data/runs" lockstep
# Pyxis: srun --container-image=lockstep --container-mounts="$PWD":/data lockstep train CONFIG
# Apptainer: apptainer build lockstep.sif docker-daemon://lockstep:latest
FROM python:3.11-slim
WORKDIR /opt/lockstep
COPY pyproject.toml constraints.txt README.md train_ddp.py ./
COPY launch launch
COPY seq seq
COPY configs configs
COPY slurm slurm
# PyPI's torch for Linux is the CUDA build, and brings CUDA's libraries with it; only the driver is the host's.
RUN pip install --no-cache-dir --constraint constraints.txt ".[export,tensorboard,pronunciation]"
WORKDIR /data
ENTRYPOINT ["lockstep"]
CMD ["train", "names"]

# What the batch scripts share: start the run on every node, have it stop in time, requeue the job. Sourced by them.
#
# site.sh beside this file (slurm/site.sh in a clone), if you make one for your site, is sourced first. It may load modules, activate an environment, or set
#   CONTAINER="apptainer exec --nv /images/torch.sif"    words before every `torchrun` or `python`
#   SRUN_OPTIONS="--container-image=/images/torch.sqsh"  options of every `srun`
# (docs/clusters.md has examples.)
# From the environment of sbatch (or of site.sh):
#   RANKS_PER_NODE   processes a node; the default is the GPUs that the job has on a node, or else 1
#   MAX_RESTARTS     requeue at most this often (20)
#   WORKER_RESTARTS  let torchrun restart workers in place at most this often (3)
#   SAVE_SECONDS     time for a checkpoint after a signal (60); less than the lead of --signal
#   MASTER_PORT      port on the first node where the processes meet (20000 to 31999, by the job id)
set -uo pipefail
: "${MAX_RESTARTS:=20}" "${WORKER_RESTARTS:=3}" "${SAVE_SECONDS:=60}" "${CONTAINER:=}" "${SRUN_OPTIONS:=}"
project=${LOCKSTEP_DIR:-$SLURM_SUBMIT_DIR}
if [ -d "$project/.venv" ]; then export PATH="$project/.venv/bin:$PATH"; fi
site=$(dirname "${BASH_SOURCE[0]}")/site.sh
# Modules and activation scripts read variables that are not set.
if [ -f "$site" ]; then set +u; source "$site"; set -u; fi
: "${RANKS_PER_NODE:=${SLURM_GPUS_ON_NODE:-1}}"

asked=
# `--signal=B:USR1@120`, and preemption where the site sends it: only this script gets the signal; pass it to the ranks.
on_warning() { asked=requeue; echo "slurm: warned, stopping with a checkpoint"; scancel --signal=USR1 "$SLURM_JOB_ID"; }
# scancel, or the time limit: SLURM has sent TERM to the ranks as well, and a signal from here would fail.
on_term() { asked=${asked:-end}; echo "slurm: told to end"; }
trap on_warning USR1
trap on_term TERM

# supervise COMMAND...: run it, and end the job as it has to end.
supervise() {
    echo "slurm: job $SLURM_JOB_ID, start ${SLURM_RESTART_COUNT:-0}, on $SLURM_JOB_NODELIST"
    "$@" &
    local step=$! code
    while :; do  # a trapped signal ends `wait` before the step does
        wait "$step"
        code=$?
        kill -0 "$step" 2>/dev/null || break
    done
    if [ "$asked" != requeue ]; then exit "$code"; fi
    if [ "${SLURM_RESTART_COUNT:-0}" -ge "$MAX_RESTARTS" ]; then
        echo "slurm: not requeued, MAX_RESTARTS=$MAX_RESTARTS is reached; submit it again to go on"
        exit 1
    fi
    trap '' TERM  # SLURM ends this script, too
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}

# with_torchrun ARGUMENTS...: train_ddp.py with these. One torchrun a node. The first node is the meeting point, and rank 0 stays there.
with_torchrun() {
    local head port
    head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    port=${MASTER_PORT:-$((20000 + SLURM_JOB_ID % 10000))}
    # In single quotes: SLURM_NODEID is another one on each node.
    supervise srun $SRUN_OPTIONS --ntasks-per-node=1 --kill-on-bad-exit=1 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
        bash -c 'exec $0 torchrun --node-rank="$SLURM_NODEID" "$@"' "${CONTAINER:-env}" \
        --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node="$RANKS_PER_NODE" --master-addr="$head" --master-port="$port" \
        --max-restarts="$WORKER_RESTARTS" --shutdown-timeout="$SAVE_SECONDS" \
        --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2 "$project/train_ddp.py" "$@"
}

# with_srun ARGUMENTS...: the same, with one SLURM task a rank, without torchrun.
with_srun() {
    supervise srun $SRUN_OPTIONS --ntasks-per-node="$RANKS_PER_NODE" --ntasks="$((RANKS_PER_NODE * SLURM_JOB_NUM_NODES))" \
        --kill-on-bad-exit=1 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} $CONTAINER python "$project/train_ddp.py" "$@"
}

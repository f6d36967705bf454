# shellcheck shell=bash disable=SC2034
# The commands that run the jobs; see utils/cmd.sh. The GPUs of this machine need no change here: ./run.sh --ngpu 4
# The other recipes have a link to this file in egs/TEMPLATE. Replace the link before you edit it for one recipe alone:
#   cp --remove-destination ../TEMPLATE/cmd.sh cmd.sh
train_cmd=run_cmd
decode_cmd=run_cmd
# Training on two machines with 8 GPUs each, which share the folder exp/: ./run.sh --ngpu 8, and
# train_cmd="srun --nodes 2 --ntasks-per-node 1 torchrun --nnodes 2 --nproc_per_node 8 --max_restarts 3
#   --rdzv_backend c10d --rdzv_endpoint $(hostname):29500 --no_python"

"""Fine-tune any set of tasks:  torchrun --nproc_per_node 8 tasks/joint/finetune.py configs/joint/synthetic_nano.py"""

from shared.engine.launch import finetune

if __name__ == "__main__":
    finetune()

"""Fine-tune pose:  torchrun --nproc_per_node 8 tasks/pose/finetune.py configs/pose/synthetic_nano.py lr=3e-4"""

from shared.engine.launch import finetune
from tasks.pose.task import Pose

if __name__ == "__main__":
    finetune(only=Pose)

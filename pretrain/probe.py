"""What does a backbone know?  python pretrain/probe.py model.safetensors --shards data/labelled"""

from shared.engine.backbones import compare

if __name__ == "__main__":
    compare()

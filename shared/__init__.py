"""What the tasks share. Large tensors on the CPU come in huge pages: page faults cost a tenth of a training step otherwise."""

import os

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by PyTorch when it first allocates

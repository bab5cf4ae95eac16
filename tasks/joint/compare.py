"""What one joint pass costs against a pass for each task:  python tasks/joint/compare.py configs/joint/synthetic_nano.py"""

import sys

from shared.engine.compare import run

if __name__ == "__main__":
    sys.exit(run())

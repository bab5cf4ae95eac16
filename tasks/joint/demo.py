"""The whole path in minutes:  python tasks/joint/demo.py"""

from tasks.joint.story import tell

if __name__ == "__main__":
    tell()

import sys
from pathlib import Path

# Pulumi runs this folder as a program, so the root with the package in it is not on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from infra.policy.pack import serve

serve()

"""``python -m depthscope``: the command line where its script is not on the path."""

import sys

from depthscope.cli import main

sys.exit(main())

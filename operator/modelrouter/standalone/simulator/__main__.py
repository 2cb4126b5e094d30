"""``python -m modelrouter.standalone.simulator`` starts one simulated server."""

import sys

from modelrouter.standalone.simulator.commandline import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# Runs pip as "python3 -m pip" would, but ends with its parent: standard input is a pipe that closes when the parent is gone,
# even if it was killed. Without this a killed set-up would leave a download behind that nobody waits for.
import os
import runpy
import sys
import threading


def end_with_parent():
    # os.read and not sys.stdin: a thread that waits in sys.stdin would hold its lock when the interpreter shuts down.
    while os.read(0, 1):
        pass
    os._exit(75)


threading.Thread(target=end_with_parent, daemon=True).start()
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)

# SPDX-License-Identifier: MIT
"""What ss and ip say of a connection that this program holds; ports are replaced by names."""
import re
import socket
import subprocess

listener = socket.create_server(("127.0.0.1", 0))
one = socket.create_connection(listener.getsockname())
other, _ = listener.accept()
names = {str(one.getsockname()[1]): "CLIENT", str(listener.getsockname()[1]): "SERVER"}
for options in ("-Htn", "-Htln"):
    shown = subprocess.run(["ss", options], capture_output=True, text=True, check=True).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for line in sorted(re.sub(r"(?<=:)\d+", lambda m: names.get(m[0], "?"), l) for l in lines):
        if "CLIENT" in line or "SERVER" in line:  # the network may not be this program's alone
            print(options, line)

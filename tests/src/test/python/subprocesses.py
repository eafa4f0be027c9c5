# SPDX-License-Identifier: MIT
"""Sockets that are the standard streams of children, or are passed to them by number."""
import multiprocessing
import os
import socket
import subprocess
import sys

listener = socket.create_server(("127.0.0.1", 0))
one = socket.create_connection(listener.getsockname())
other, _ = listener.accept()

child = subprocess.Popen(["tr", "a-z", "A-Z"], stdin=other, stdout=subprocess.PIPE)
other.close()
one.sendall(b"by way of standard input\n")
one.shutdown(socket.SHUT_WR)
print(child.communicate(timeout=20)[0].decode(), end="")
print("tr:", child.returncode)
one.close()

one = socket.create_connection(listener.getsockname())
other, _ = listener.accept()
code = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.sendall(s.recv(100) * 2)"
child = subprocess.Popen([sys.executable, "-c", code, str(other.fileno())], pass_fds=[other.fileno()])
other.close()
one.sendall(b"twice ")
print(one.makefile("rb").read())
print("child:", child.wait(timeout=20))

one = socket.create_connection(listener.getsockname())
other, _ = listener.accept()
child = subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"], stdout=other, stderr=other)
other.close()
print(one.makefile("rb").read(), child.returncode)


def work(connection):
    with connection:
        connection.sendall(b"from pid not parent" if os.getpid() != os.getppid() else b"?")


one = socket.create_connection(listener.getsockname())
other, _ = listener.accept()
process = multiprocessing.get_context("fork").Process(target=work, args=(other,))
process.start()
other.close()
print(one.makefile("rb").read())
process.join(20)
print("process:", process.exitcode)
print(subprocess.run(["cat"], input=b"no socket at all\n", capture_output=True).stdout)

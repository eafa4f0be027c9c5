# SPDX-License-Identifier: MIT
"""Drives a command from an interactive shell on a terminal of its own.

job_control.py COMMAND...: the command is one that says "ready" and then repeats lines typed.
Prints what happened, the same for each kernel, and on standard error how long each took.
"""
import os
import pty
import re
import select
import shlex
import sys
import time

LIMIT_SECONDS = 30
command = shlex.join(sys.argv[1:])
pid, terminal = pty.fork()
if pid == 0:
    os.environ["PS1"] = "@> "
    os.environ["TERM"] = "dumb"
    os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
seen = ""


def type_in(text):
    os.write(terminal, text.encode())


def await_text(pattern):
    """Waits for text that matches, forgets it and what was before; returns the seconds it took."""
    global seen
    start = time.monotonic()
    while not (found := re.search(pattern, seen)):
        left = start + LIMIT_SECONDS - time.monotonic()
        ready = select.select([terminal], [], [], max(left, 0))[0]
        if not ready:
            print(f"no /{pattern}/ in {seen!r}")
            os.killpg(os.tcgetpgrp(terminal), 9)
            os.kill(pid, 9)
            sys.exit(1)
        seen += os.read(terminal, 65536).decode(errors="replace")
    seen = seen[found.end():]
    return time.monotonic() - start


def timed(what, pattern):
    took = await_text(pattern)
    print(f"took {what} {int(took * 1e6)}", file=sys.stderr)


def start():
    type_in(command + "\n")
    await_text(r"ready\r?\n")
    time.sleep(0.15)  # it is in its call by now


await_text("@> ")
start()
type_in("one\n")
await_text(r"heard one\r?\n")
print("heard what was typed")

for n in range(3):
    type_in("\x1a")
    timed("stop", r"Stopped")
    await_text("@> ")
    type_in("fg\n")
    await_text(r"\n")
    time.sleep(0.1)
    type_in("two\n")
    timed("continue", r"heard two\r?\n")
print("stopped, continued and heard")

type_in("\x1a")
await_text("Stopped")
await_text("@> ")
type_in("bg; sleep 0.2; jobs\n")
# It reads the terminal from the background, which stops it again.
await_text(r"\[1\]\+\s+Stopped")
await_text("@> ")
print("stopped in the background when it reads the terminal")
type_in("fg\n")
await_text(r"\n")
time.sleep(0.1)
type_in("\x03")
timed("interrupt", "@> ")
type_in("echo status $?\n")
await_text(r"status 130\r?\n")
await_text("@> ")
print("Ctrl-C: 130")

start()
type_in("\x1c")
timed("quit", r"@> ")
type_in("echo status $?\n")
await_text(r"status 131\r?\n")
await_text("@> ")
print("Ctrl-\\: 131")

start()
type_in("\x1a")
await_text("Stopped")
await_text("@> ")
type_in("kill -TERM %1; sleep 0.3; echo\n")
await_text(r"\[1\]\+\s+(Terminated|Exit 143)")
await_text("@> ")
print("kill -TERM of a stopped job: 143")

start()
type_in("\x04")
await_text("over")
await_text("@> ")
type_in("echo status $?\n")
await_text(r"status 0\r?\n")
print("end of file: 0")
type_in("exit\n")
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))

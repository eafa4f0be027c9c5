# SPDX-License-Identifier: MIT
"""Drives a command from an interactive shell on a terminal of its own.

job_control.py COMMAND...: the command is one that says "ready PID" and then repeats lines typed, which
process PID reads. Prints what happened, the same for each kernel, and on standard error how long
each took: the median of some tries, more of them while it is beyond the margin of the tests. What ends
the program is measured to the shell's next prompt, so the end of the command is part of it.
"""
import os
import pty
import re
import select
import shlex
import signal
import statistics
import sys
import time

LIMIT_SECONDS = 30
MARGIN_SECONDS = 0.02
# The command ends after the program.
END_MARGIN_SECONDS = 0.1
command = shlex.join(sys.argv[1:])
pid, terminal = pty.fork()
if pid == 0:
    os.environ["PS1"] = "@> "
    os.environ["TERM"] = "dumb"
    # Whoever started this in the background may have had them ignored.
    for number in signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP:
        signal.signal(number, signal.SIG_DFL)
    os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
seen = ""
reader = 0


def type_in(text):
    os.write(terminal, text.encode())


def fail(what):
    print(what)
    os.killpg(os.tcgetpgrp(terminal), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    sys.exit(1)


def await_text(pattern):
    """Waits for text that matches, forgets it and what was before; returns the match."""
    global seen
    start = time.monotonic()
    while not (found := re.search(pattern, seen)):
        left = start + LIMIT_SECONDS - time.monotonic()
        ready = select.select([terminal], [], [], max(left, 0))[0]
        if not ready:
            fail(f"no /{pattern}/ in {seen!r}")
        seen += os.read(terminal, 65536).decode(errors="replace")
    seen = seen[found.end():]
    return found


def await_reader(*states):
    """Waits until the process that reads the terminal is in one of these states; "" is no more.

    Bash says what became of a job by the state of its first process. Until the one that reads has
    seen the signal too, it may still take a line that is meant for the shell.
    """
    limit = time.monotonic() + LIMIT_SECONDS
    while (state := state_of_reader()) not in states:
        if time.monotonic() > limit:
            fail(f"the reader is {state!r} instead of {states}")
        time.sleep(0.002)


def state_of_reader():
    try:
        with open(f"/proc/{reader}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def start():
    global reader
    type_in(command + "\n")
    reader = int(await_text(r"ready (\d+)\r?\n")[1])
    time.sleep(0.15)  # it is in its call by now


def measure(before, what, text, pattern, after, margin=MARGIN_SECONDS):
    """Says how long it takes from typing a text to seeing the pattern."""
    took = []
    while not took or len(took) < 9 and statistics.median(took) > margin:
        before()
        began = time.monotonic()
        type_in(text)
        await_text(pattern)
        took.append(time.monotonic() - began)
        after()
    print(f"took {what} {int(statistics.median(took) * 1e6)}", file=sys.stderr)


def stop():
    type_in("\x1a")
    stopped()


def stopped():
    await_reader("T")
    await_text("@> ")


def foreground():
    type_in("fg\n")
    await_reader("S")


def ended(status):
    await_reader("", "Z")
    type_in("echo status $?\n")
    await_text(rf"status {status}\r?\n")
    await_text("@> ")


def running():
    if state_of_reader() in ("", "Z"):
        start()


def nothing():
    pass


await_text("@> ")
start()
type_in("one\n")
await_text(r"heard one\r?\n")
print("heard what was typed")

measure(nothing, "stop", "\x1a", "Stopped", lambda: (stopped(), foreground()))
measure(lambda: (stop(), foreground()), "continue", "two\n", r"heard two\r?\n", nothing)
print("stopped, continued and heard")

stop()
# It reads the terminal from the background, which stops it again: until then the shell says Running.
type_in('bg; while [ "$(jobs -r)" ]; do sleep 0.05; done; jobs\n')
await_text(r"\[1\]\+\s+Stopped")
await_reader("T")
await_text("@> ")
print("stopped in the background when it reads the terminal")
foreground()
measure(running, "interrupt", "\x03", "@> ", lambda: ended(130), END_MARGIN_SECONDS)
print("Ctrl-C: 130")

measure(running, "quit", "\x1c", "@> ", lambda: ended(131), END_MARGIN_SECONDS)
print("Ctrl-\\: 131")

start()
stop()
type_in("kill -TERM %1; while kill -0 %1 2> /dev/null; do sleep 0.05; done\n")
# "Exit 143" is what a shell says of a front that ended as its program did.
await_text(r"\[1\][+-]?\s+(Terminated|Exit 143)")
await_text("@> ")
print("kill -TERM of a stopped job: 143")

start()
type_in("\x04")
await_text("over")
await_text("@> ")
ended(0)
print("end of file: 0")
type_in("exit\n")
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))

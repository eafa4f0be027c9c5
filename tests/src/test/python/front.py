# SPDX-License-Identifier: MIT
"""The front of `outboard run`: streams, signals, job control, status, on real terminals.

front.py OUTBOARD [TEST...]    runs with the given launcher; the exit status tells.

Where a test compares, it runs the same program natively first.
"""

import errno
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import unittest

OUTBOARD = [sys.argv.pop(1), "run", "--net=none", "--"]
# Whoever started this in the background may have had them ignored, and so would all programs here.
for number in signal.SIGINT, signal.SIGQUIT:
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

PATIENCE = 60  # seconds; a busy machine takes long to start two JVMs

# Says when it is ready, then one line for each signal, until none has come for a while.
COUNTER = r"""
import os, signal, time
def heard(n, _):
    global end
    os.write(1, ("got %d\n" % n).encode())
    end = time.monotonic() + 0.7
for s in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(s, heard)
end = time.monotonic() + 60
os.write(1, b"ready\n")
while time.monotonic() < end:
    time.sleep(0.05)
os.write(1, b"end\n")
"""


def counter():
    return ["python3", "-c", COUNTER]


class Terminal:
    """A program as the foreground job of a terminal of its own."""

    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.text = ""

    def read_until(self, wanted):
        end = time.monotonic() + PATIENCE
        while wanted not in self.text:
            left = end - time.monotonic()
            ready = select.select([self.fd], [], [], max(left, 0))[0]
            if not ready:
                raise AssertionError("no %r in %r" % (wanted, self.text))
            try:
                data = os.read(self.fd, 4096)
            except OSError as e:
                if e.errno != errno.EIO:
                    raise
                data = b""
            if not data:
                raise AssertionError("ended without %r: %r" % (wanted, self.text))
            self.text += data.decode().replace("\r\n", "\n")

    def type(self, text):
        os.write(self.fd, text)

    def wait(self, options=0):
        return wait(self.pid, options)

    def close(self):
        os.close(self.fd)


def wait(pid, options=0):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(pid, options | os.WNOHANG)
        if done:
            return status
        time.sleep(0.02)
    raise AssertionError("%d has not changed" % pid)


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as f:
                    if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                        found.append(int(entry))
            except (OSError, IndexError):
                pass
    return found


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child] + descendants(child)
    return found


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def state(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def eventually(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("not within %d s: %s" % (PATIENCE, what))
        time.sleep(0.05)


def run(command, **options):
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=2 * PATIENCE, **options
    )


class FrontTest(unittest.TestCase):
    def start(self, program, **options):
        """The program offloaded in a process group of its own, its output a pipe."""
        process = subprocess.Popen(
            OUTBOARD + program, stdout=subprocess.PIPE, preexec_fn=os.setpgrp, **options
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(lambda: process.poll() is None and process.kill())
        return process

    def ready(self, process):
        self.assertEqual(process.stdout.readline(), b"ready\n")

    # --- what the program starts with and leaves (SurroundingsTest has more)

    def test_nobody_keeps_a_pipe_open_that_the_program_closed(self):
        process = self.start(["sh", "-c", "echo ready; exec >&- <&-; sleep 30"], stdin=subprocess.PIPE)
        self.ready(process)
        self.assertEqual(process.stdout.read(), b"")  # end of file, long before the 30 s
        self.assertIsNone(process.poll())
        with self.assertRaises(BrokenPipeError):
            for _ in range(100):
                process.stdin.write(b"x" * 4096)
                process.stdin.flush()
                time.sleep(0.02)
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass

    # --- signals

    def test_a_signal_to_the_front_arrives_once(self):
        self.arrives_once((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2), os.kill)

    def test_a_signal_to_the_group_arrives_once(self):
        self.arrives_once((signal.SIGTERM, signal.SIGINT), os.killpg)

    def arrives_once(self, numbers, send):
        # All at a time: each waits for a while whether its signal comes again.
        processes = [self.start(counter()) for _ in numbers]
        for number, process in zip(numbers, processes):
            self.ready(process)
            send(process.pid, number)
        for number, process in zip(numbers, processes):
            with self.subTest(signal=number):
                self.assertEqual(process.stdout.read().decode(), "got %d\nend\n" % number)
                self.assertEqual(process.wait(PATIENCE), 0)

    def test_control_c_arrives_once(self):
        terminal = Terminal(OUTBOARD + counter())
        terminal.read_until("ready\n")
        terminal.type(b"\x03")
        terminal.read_until("got 2\n")
        terminal.type(b"\x1c")
        terminal.read_until("got 3\n")
        terminal.read_until("end\n")
        self.assertEqual(terminal.text.count("got"), 2, terminal.text)
        self.assertEqual(terminal.wait(), 0)
        terminal.close()

    def test_control_c_ends_a_program_that_does_not_care(self):
        # Not a shell with a sleep: between the two a signal may be lost, natively as well.
        program = ["python3", "-c", "import time; print('ready', flush=True); time.sleep(60)"]
        terminal = Terminal(["sh", "-c", '"$@"; echo "status $?"', "sh"] + OUTBOARD + program)
        terminal.read_until("ready\n")
        began = time.monotonic()
        terminal.type(b"\x03")
        terminal.wait()
        self.assertLess(time.monotonic() - began, 20)
        terminal.close()

    # --- job control

    def test_control_z_and_fg(self):
        # Job control takes a shell: the kernel stops no job whose leader has nobody to go back to.
        terminal = Terminal(["bash", "--norc", "--noprofile", "-i"])
        script = "echo re''ady $$ 'to read'; read line; echo \"read: $line\"; exit 5"
        terminal.type(" ".join(map(shlex.quote, OUTBOARD + ["sh", "-c", script])).encode() + b"\n")
        terminal.read_until(" to read\n")
        terminal.type(b"\x1a")
        terminal.read_until("Stopped")
        # The shell goes by its job's first process: the one that reads may still take the next line.
        reader = int(re.search(r"ready (\d+) to read\n", terminal.text)[1])
        eventually("the reader stops", lambda: state(reader) == "T")
        terminal.type(b"fg\n")
        terminal.type(b"on\n")
        terminal.read_until("read: on\n")
        terminal.type(b"echo status:$?\n")
        terminal.read_until("status:5\n")
        terminal.type(b"exit\n")
        self.assertEqual(terminal.wait(), 0)
        terminal.close()

    def test_the_job_stops_when_the_program_does(self):
        process = self.start(["sh", "-c", "echo ready; kill -STOP $$; echo on; exit 3"])
        self.ready(process)
        status = wait(process.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status), status)
        os.killpg(process.pid, signal.SIGCONT)
        self.assertEqual(process.stdout.read(), b"on\n")
        self.assertEqual(os.waitstatus_to_exitcode(wait(process.pid)), 3)
        process.returncode = 3

    # --- ends

    def test_kill_9_of_the_front_leaves_nothing(self):
        before = set(os.listdir("/tmp"))
        process = self.start(["sh", "-c", "echo ready; sleep 300 & sleep 300"])
        self.ready(process)
        tree = descendants(process.pid)
        self.assertGreater(len(tree), 3)
        process.kill()
        process.wait(PATIENCE)
        eventually("nobody lives", lambda: not any(alive(p) for p in tree))
        # A file of a JVM's in /tmp bears its process's number; another JVM may have had that before.
        left = [n for n in set(os.listdir("/tmp")) - before if any(str(p) in re.findall(r"\d+", n) for p in tree)]
        self.assertEqual(left, [])

    def test_run_returns_while_a_daemon_lives_on(self):
        script = "setsid sh -c 'until [ -e $0.go -o ! -d ${0%/*} ]; do sleep 0.1; done; echo done >$0' \"$0\" >/dev/null 2>&1 </dev/null & echo started"
        with tempfile.TemporaryDirectory() as directory:
            mark = os.path.join(directory, "mark")
            # Command substitution: whoever still holds the pipe would be waited for.
            result = run(["sh", "-c", 'out=$("$@" 2>&1); echo "$out $?"', "sh"] + OUTBOARD + ["sh", "-c", script, mark])
            self.assertEqual(result.stdout, b"started 0\n")
            with open(mark + ".go", "w"):
                pass
            eventually("the daemon goes on", lambda: os.path.exists(mark))


if __name__ == "__main__":
    unittest.main(verbosity=2)

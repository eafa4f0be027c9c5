# SPDX-License-Identifier: MIT
"""A client that leaves its records to the kernel, as the server does.

tls.py PORT FILE...    fetches each file from 127.0.0.1:PORT, with each cipher and version on one
connection, and prints what the kernel says about both ends of it. The ciphers of TLS 1.3 have a
port each, from PORT on: this client cannot choose among them.

OPENSSL_CONF names a configuration that turns kernel TLS on.
"""

import re
import socket
import ssl
import subprocess
import sys

PORT = int(sys.argv[1])
FILES = sys.argv[2:]
CIPHERS = {
    ssl.TLSVersion.TLSv1_2: (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
    ssl.TLSVersion.TLSv1_3: (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_128_CCM_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
}


def fetch(stream, name):
    stream.write(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % name.encode())
    stream.flush()
    assert stream.readline().split()[1] == b"200"
    length = 0
    while (line := stream.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return stream.read(length)


def kernel_says(near, far):
    """What `ss` shows of TLS on the socket between two ports of the loopback."""
    out = subprocess.run(
        ["ss", "-tinHO", f"sport = :{near} and dport = :{far}"],
        stdout=subprocess.PIPE, check=True, text=True).stdout
    found = re.search(r"tcp-ulp-tls (version: .*?txconf: \w+)", out)
    return found[1] if found else "no TLS"


for version, names in CIPHERS.items():
    for index, name in enumerate(names):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        port = PORT
        if version is ssl.TLSVersion.TLSv1_2:
            context.set_ciphers(name + ":@SECLEVEL=0")
        else:
            port += index
        with socket.create_connection(("127.0.0.1", port)) as s:
            with context.wrap_socket(s) as t:
                assert t.cipher()[0] == name, t.cipher()
                with t.makefile("rwb") as stream:
                    for path in FILES:
                        with open(path, "rb") as f:
                            assert fetch(stream, path) == f.read(), (name, path)
                    mine = t.getsockname()[1]
                    print(name)
                    print("  server", kernel_says(port, mine))
                    print("  client", kernel_says(mine, port), flush=True)

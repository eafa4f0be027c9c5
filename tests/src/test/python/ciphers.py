# SPDX-License-Identifier: MIT
"""AF_ALG sockets: hashes, ciphers and authenticated ciphers of the kernel."""

import hashlib
import hmac
import os
import socket
import threading


def algorithm(kind, name, key=None, tag=None):
    s = socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)
    s.bind((kind, name))
    if key is not None:
        s.setsockopt(socket.SOL_ALG, socket.ALG_SET_KEY, key)
    if tag is not None:
        s.setsockopt(socket.SOL_ALG, socket.ALG_SET_AEAD_AUTHSIZE, None, tag)
    return s


def cipher(kind, name, key, data, iv, **more):
    with algorithm(kind, name, key, more.pop("tag", None)) as a:
        results = []
        for op in socket.ALG_OP_ENCRYPT, socket.ALG_OP_DECRYPT:
            with a.accept()[0] as s:
                s.sendmsg_afalg([data], op=op, iv=iv, **more)
                # It would wait for more than there will be.
                data = s.recv(len(data))
                results.append(data)
        return results


with algorithm("hash", "sha256") as a, a.accept()[0] as s:
    s.sendall(b"abc")
    print("sha256", s.recv(64) == hashlib.sha256(b"abc").digest())
    s.sendall(b"a", socket.MSG_MORE)
    s.sendall(b"bc")
    print("sha256 of two parts", s.recv(64) == hashlib.sha256(b"abc").digest())
    with s.dup() as copy:
        copy.sendall(b"x")
        print("duplicated", s.recv(64) == hashlib.sha256(b"x").digest())

# More than the hook carries in one call.
large = bytes(range(251)) * 4200
digest = hashlib.sha512(large).digest()
with open("large", "wb") as f:
    f.write(large)
for what in "send", "write", "sendmsg", "sendfile":
    with algorithm("hash", "sha512") as a, a.accept()[0] as s:
        match what:
            case "send":
                sent = s.send(large)
            case "write":
                sent = os.write(s.fileno(), large)
            case "sendmsg":
                sent = s.sendmsg([large[:500], large[500:]])
            case "sendfile":
                with open("large", "rb") as f:
                    sent = os.sendfile(s.fileno(), f.fileno(), 0, len(large))
        print("sha512 by", what, sent == len(large), s.recv(64) == digest)

with algorithm("hash", "hmac(sha1)", b"key" * 9) as a, a.accept()[0] as s:
    s.sendall(b"text")
    print("hmac", s.recv(64) == hmac.digest(b"key" * 9, b"text", "sha1"))

# SP 800-38A, F.1.1, F.2.1 and F.5.1
key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
block = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
sealed, opened = cipher("skcipher", "cbc(aes)", key, block, bytes(range(16)))
print("cbc", sealed.hex() == "7649abac8119b246cee98e9b12e9197d", opened == block)
sealed, opened = cipher("skcipher", "ecb(aes)", key, block, b"")
print("ecb", sealed.hex() == "3ad77bb40d7a3660a89ecaf32466ef97", opened == block)
counter = bytes(range(0xF0, 0x100))
sealed, opened = cipher("skcipher", "ctr(aes)", key, block, counter)
print("ctr", sealed.hex() == "874d6191b620e3261bef6864990db6ce", opened == block)
sealed, opened = cipher("skcipher", "xts(aes)", key + counter, block * 9, bytes(16))
print("xts", sealed != block * 9, opened == block * 9)

# Longer than a piece and than the socket's buffer, so somebody has to read meanwhile.
data = block * 65536
with algorithm("skcipher", "ctr(aes)", key) as a:
    for op in socket.ALG_OP_ENCRYPT, socket.ALG_OP_DECRYPT:
        with a.accept()[0] as s:
            sender = threading.Thread(
                target=s.sendmsg_afalg, args=([data],), kwargs={"op": op, "iv": counter}
            )
            sender.start()
            got = bytearray()
            while len(got) < len(data):
                got += s.recv(min(65536, len(data) - len(got)))
            sender.join()
            data = bytes(got)
        if op == socket.ALG_OP_ENCRYPT:
            print("first block", data[:16].hex() == "874d6191b620e3261bef6864990db6ce")
print("all blocks", data == block * 65536)

# (of CCM the first byte of the IV says how long the message's length is)
for name, size, iv in (
    ("gcm(aes)", 16, bytes(12)),
    ("ccm(aes)", 16, bytes([3]) + bytes(15)),
    ("rfc7539(chacha20,poly1305)", 32, bytes(12)),
):
    with algorithm("aead", name, bytes(size), 16) as a:
        with a.accept()[0] as s:
            s.sendmsg_afalg(
                [b"head", b"text"], op=socket.ALG_OP_ENCRYPT, iv=iv, assoclen=4
            )
            sealed = s.recv(4 + 4 + 16)
        with a.accept()[0] as s:
            s.sendmsg_afalg([sealed], op=socket.ALG_OP_DECRYPT, iv=iv, assoclen=4)
            print(name, sealed[4:8] != b"text", s.recv(8) == b"headtext")
        with a.accept()[0] as s:
            changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
            s.sendmsg_afalg([changed], op=socket.ALG_OP_DECRYPT, iv=iv, assoclen=4)
            try:
                s.recv(8)
            except OSError as e:
                print(name, "changed:", e.strerror)

# Random numbers: as many as asked for, 128 bytes at most, and others each time.
with algorithm("rng", "stdrng", b"seed" * 8) as a:
    got = []
    for _ in range(2):
        with a.accept()[0] as s:
            got += [s.recv(128), s.recv(20), s.recv(4096)]
    print("random", [len(g) for g in got], len(set(got)) == 6, b"\0" * 20 not in got)

try:
    algorithm("hash", "no-such-hash")
except FileNotFoundError:
    print("no such hash")

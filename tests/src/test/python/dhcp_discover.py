# SPDX-License-Identifier: MIT
"""Asks for an address by DHCP on the interface given, through a packet socket, as clients do."""
import socket
import struct
import sys


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~((total >> 16) + total) & 0xFFFF


s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
s.bind((sys.argv[1], 0))
s.settimeout(20)
mac = s.getsockname()[4]
MAGIC, DISCOVER, BROADCAST = b"\x63\x82\x53\x63", b"\x35\x01\x01\xff", 0x8000
question = struct.pack(
    "!BBBBIHH16x16s192s4s", 1, 1, 6, 0, 0x1234, 0, BROADCAST, mac, b"", MAGIC) + DISCOVER
question += bytes(300 - len(question))
udp = struct.pack("!HHHH", 68, 67, 8 + len(question), 0) + question
ip = struct.pack(
    "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
s.send(b"\xff" * 6 + mac + b"\x08\0" + ip + udp)
while True:
    frame = s.recv(2000)
    if frame[23] == 17 and frame[34:38] == struct.pack("!HH", 67, 68):
        print("offered", socket.inet_ntoa(frame[58:62]))
        break

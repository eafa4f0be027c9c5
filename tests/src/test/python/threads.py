# SPDX-License-Identifier: MIT
"""A threading server and client threads in one process, as many as are asked for; time limits, resets and a UDP pair."""
import http.client
import http.server
import socket
import sys
import threading

CLIENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 24
REQUESTS = 5


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    # With the default of 5, syncookies would reset connections whenever accepting is slow.
    request_queue_size = 2 * CLIENTS
    daemon_threads = True


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_address[1]
right = []


def client(number):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for n in range(REQUESTS):
        body = bytes((number + n + i) % 256 for i in range(2000 + 997 * number))
        connection.request("POST", "/", body)
        right.append(connection.getresponse().read() == body[::-1])
    connection.close()


clients = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
for thread in clients:
    thread.start()
for thread in clients:
    thread.join()
print(f"{sum(right)} of {CLIENTS * REQUESTS} answers are right")
server.shutdown()
server.server_close()

with socket.create_server(("127.0.0.1", 0)) as listener:
    with socket.create_connection(listener.getsockname()) as one:
        other, _ = listener.accept()
        one.settimeout(0.05)
        try:
            one.recv(1)
        except TimeoutError as e:
            print("a receive that times out:", e)
        waiting = threading.Thread(target=lambda: print("woken by shutdown:", other.recv(1)))
        waiting.start()
        one.shutdown(socket.SHUT_WR)
        waiting.join()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        other.close()
        try:
            one.settimeout(5)
            one.recv(1)
        except ConnectionResetError as e:
            print("a reset connection:", e.strerror)
try:
    socket.create_connection(("127.0.0.1", 1), timeout=5)
except ConnectionRefusedError as e:
    print("a refused connection:", e.strerror)

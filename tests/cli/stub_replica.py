"""Stands in for ``oarlock serve`` where a test is about the process that runs it.

usage: stub_replica.py ID REDIS_ADDRESS [dies | deaf | leaderless]
"""

import socketserver
import sys

replica, address = sys.argv[1:3]
behaviour = sys.argv[3] if len(sys.argv) > 3 else ""

if behaviour == "dies":
    print("oarlock: the data directory is somebody else's; choose another.", file=sys.stderr)
    sys.exit(2)
if behaviour == "deaf":
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while request := self.rfile.readline():
            words = []
            for _ in range(int(request[1:])):
                size = int(self.rfile.readline()[1:])
                words.append(self.rfile.read(size + 2)[:-2])
            if words[0] == b"INFO":
                leader = 0 if behaviour == "leaderless" else 1
                body = f"replica_id:{replica}\r\nrole:follower\r\nterm:7\r\nleader_id:{leader}\r\n".encode()
                self.wfile.write(b"$%d\r\n%s\r\n" % (len(body), body))
            else:
                self.wfile.write(b":0\r\n")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


host, port = address.split(":")
Server((host, int(port)), Connection).serve_forever()

"""A daemon as servers are: of its own session, with a PID file, a socket and a log.

usage: daemon.py start|put LINE|restless|stop

`restless` has it write to its log without end; it then ignores SIGTERM.
"""

import os
import signal
import socket
import sys

PID, SOCKET, LOG, DATA = "/run/daemon.pid", "/run/daemon.socket", "/var/log/daemon", "/srv/daemon"


def append(path, line):
    with open(path, "a") as file:
        file.write(line + "\n")


def stop(*_):
    append(LOG, "stopped")
    os.remove(SOCKET)
    os.remove(PID)
    os._exit(0)


def serve(server):
    signal.signal(signal.SIGTERM, stop)
    while True:
        connection, _ = server.accept()
        line = connection.makefile().readline().rstrip("\n")
        if line == "restless":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            connection.sendall(b"ok\n")
            while True:
                append(LOG, "restless")
        append(DATA, line)
        connection.sendall(b"ok\n")
        connection.close()


def start():
    # It listens before anybody is told, so nobody has to wait.
    server = socket.socket(socket.AF_UNIX)
    if os.path.exists(SOCKET):
        os.remove(SOCKET)
    server.bind(SOCKET)
    server.listen()
    if os.fork() > 0:
        return
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    append(PID, str(os.getpid()))
    serve(server)


def ask(line):
    client = socket.socket(socket.AF_UNIX)
    client.connect(SOCKET)
    client.sendall(line.encode() + b"\n")
    answer = client.makefile().readline()
    if answer != "ok\n":
        sys.exit(f"the daemon said {answer!r}")


command = sys.argv[1]
if command == "start":
    start()
elif command == "put":
    ask(sys.argv[2])
elif command == "restless":
    ask("restless")
elif command == "stop":
    ask("last")
    pid = int(open(PID).read())
    os.kill(pid, signal.SIGTERM)
    while os.path.exists(PID):
        pass
else:
    sys.exit(__doc__)

"""A client of clever-show's messaging, written from the description of the protocol alone, with nothing but the standard
library. Files it has in its working directory. It does what the lines on its standard input say, and prints what it hears, a JSON object a line.

    messaging_peer.py PORT ID [CA_FILE]

    {"do": "action", "name": ..., "args": [...], "kwargs": {...}}
    {"do": "request", ...the same, "request_id": "0001"}
    {"do": "slowly", ...an action, "pieces": 1}    in pieces of so many bytes
    {"do": "raw", "hex": ...}
    {"do": "send_file", "local": ..., "filepath": ...}
    {"do": "get_file", "filepath": ..., "local": ..., "request_id": "0001"}
    {"do": "close"}
"""
import hashlib
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time

REQUIRED = ("byteorder", "content-type", "content-encoding", "content-length", "message-type")
lock = threading.Lock()
wanted = {}  # where files that were asked for belong, by the id of the request


def say(**event):
    with lock:
        print(json.dumps(event), flush=True)


def frame(content, content_type, message_type, **more):
    header = {
        "byteorder": sys.byteorder,
        "content-type": content_type,
        "content-encoding": "utf-8",
        "content-length": len(content),
        "message-type": message_type,
    }
    header.update(more)
    encoded = json.dumps(header, ensure_ascii=False).encode("utf-8")
    return struct.pack(">H", len(encoded)) + encoded + content


def said(value):
    return json.dumps(value, ensure_ascii=False).encode("utf-8")


def action(name, args=(), kwargs=None):
    return frame(said({"args": args, "kwargs": kwargs or {}}), "json", "message", action=name)


def request(name, request_id, args=(), kwargs=None):
    content = {"requested_value": name, "request_id": request_id, "args": args, "kwargs": kwargs or {}}
    return frame(said(content), "json", "request")


def response(name, request_id, value):
    return frame(said({"value": value}), "json", "response", requested_value=name, request_id=request_id)


def push(filepath, content):
    return frame(content, "binary", "message", action="filetransfer", filepath=filepath)


def file_response(request_id, content):
    return frame(content, "binary", "response", requested_value="filetransfer", request_id=request_id)


def read_file(local):
    with open(local, "rb") as file:
        return file.read()


def write_file(local, content):
    with open(local, "wb") as file:
        file.write(content)
    say(file=local, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def exactly(stream, count):
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def receive(stream):
    """The next frame: its header and its content."""
    (length,) = struct.unpack(">H", exactly(stream, 2))
    header = json.loads(exactly(stream, length).decode("utf-8"))
    for key in REQUIRED:
        if key not in header:
            raise ValueError("no " + key)
    content = exactly(stream, header["content-length"])
    if header["content-type"] == "json":
        content = json.loads(content.decode(header["content-encoding"]))
    return header, content


def answer(name, args, kwargs, own_id):
    """What a drone says, as far as tests want to hear it; as in the original there is no other answer."""
    if name == "id":
        return own_id
    if name == "time":
        return time.time()
    if name == "telemetry":
        return {"battery": [float("nan"), float("inf")], "mode": "полёт"}
    if name == "echo":
        return {"args": args, "kwargs": kwargs}
    raise KeyError(name)


def listen(connection, own_id):
    stream = connection.makefile("rb")
    try:
        while True:
            header, content = receive(stream)
            kind = header["message-type"]
            if kind == "message" and header["action"] == "filetransfer":
                write_file(header["filepath"], content)
            elif kind == "message":
                say(action=header["action"], args=content["args"], kwargs=content["kwargs"])
            elif kind == "request":
                name, request_id = content["requested_value"], content["request_id"]
                if name == "filetransfer":
                    local = content["kwargs"]["filepath"]
                    if os.path.exists(local):
                        connection.sendall(file_response(request_id, read_file(local)))
                    else:
                        say(unanswered=local)
                    continue
                try:
                    value = answer(name, content["args"], content["kwargs"], own_id)
                except KeyError:
                    say(unanswered=name)
                else:
                    connection.sendall(response(name, request_id, value))
            elif kind == "response" and header["content-type"] != "json":
                write_file(wanted.pop(header["request_id"]), content)
            elif kind == "response":
                say(
                    response=header["requested_value"],
                    id=header["request_id"],
                    value=content["value"],
                    error=header.get("error"),
                )
    except (EOFError, OSError):
        say(closed=True)


def main(port, own_id, ca_file=None):
    connection = socket.create_connection(("127.0.0.1", int(port)))
    if ca_file is not None:
        connection = ssl.create_default_context(cafile=ca_file).wrap_socket(connection, server_hostname="localhost")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=listen, args=(connection, own_id), daemon=True).start()
    say(connected=True)
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        if what == "action":
            connection.sendall(action(**command))
        elif what == "request":
            connection.sendall(request(**command))
        elif what == "slowly":
            pieces = command.pop("pieces")
            data = action(**command)
            for at in range(0, len(data), pieces):
                connection.sendall(data[at : at + pieces])
        elif what == "send_file":
            connection.sendall(push(command["filepath"], read_file(command["local"])))
        elif what == "get_file":
            wanted[command["request_id"]] = command["local"]
            connection.sendall(request("filetransfer", command["request_id"], (), {"filepath": command["filepath"]}))
        elif what == "raw":
            connection.sendall(bytes.fromhex(command["hex"]))
        elif what == "close":
            connection.close()
            return


main(*sys.argv[1:])

# The server of wslink (Python), with the procedures of bench/filters/procedures.ts. PYTHONPATH=CLONE/src python3 wslink-original.py
import sys
from argparse import Namespace

from wslink import register, server
from wslink.websocket import LinkProtocol, ServerProtocol

IMAGE = bytes(1_000_000)


class Procedures(LinkProtocol):
    @register("demo.add")
    def add(self, a, b):
        return a + b

    @register("demo.image")
    def image(self):
        return IMAGE


class Server(ServerProtocol):
    def initialize(self):
        self.registerLinkProtocol(Procedures())
        self.updateSecret("bench")

    def port_callback(self, port):
        print(f"listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)


server.start_webserver(
    Namespace(
        host="127.0.0.1", port=0, timeout=0, ws="ws", nows=False, content="", fsEndpoints="",
        ssl="", reverse_url=None, nosignalhandlers=False, debug=False,
    ),
    protocol=Server,
    disableLogging=True,
)

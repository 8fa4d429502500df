#!/usr/bin/env python3
# Every message in capital letters: fws-server -f 'exec:./shout.py' broadcast
import json, sys

for line in sys.stdin:
    event = json.loads(line)
    if event["event"] == "message":
        verdict = {"id": event["id"]}
        if "data" in event:
            verdict["data"] = event["data"].upper()
        print(json.dumps(verdict), flush=True)

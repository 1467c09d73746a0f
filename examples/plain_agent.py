"""Strategy Analysis as a program of its own that shares no code: Python's standard library only.

python plain_agent.py SOCKET [INSTANCE], with [agents.strategy_analysis] where = "remote".
"""

import json
import os
import socket
import sys

RATIO_MIN = 2
path, instance = sys.argv[1], int((sys.argv[2:] or ["1"])[0])
link = socket.socket(socket.AF_UNIX)
link.connect(path)
sent = 0


def send(kind: str, data: dict[str, object]) -> None:
    global sent  # noqa: PLW0603 -- a script
    sent += 1
    source = f"agent/strategy_analysis/{instance}"
    frame = {"type": kind, "id": f"{os.getpid()}.{sent}", "source": source, "data": data}
    link.sendall(json.dumps(frame).encode() + b"\n")


send("agent.hello", {
    "protocol": 1, "role": "strategy_analysis", "instance": instance, "name": "ratio_plain",
    "version": "1", "hears": [], "says": ["score"],
})  # fmt: skip
for line in link.makefile("rb"):
    frame = json.loads(line)
    kind, data = frame["type"], frame.get("data", {})
    if kind == "service.live":
        send("agent.ready", {})
    elif kind == "service.ping":
        send("agent.pong", {"number": data["number"]})
    elif kind == "service.ask":
        signal, account = data["question"]["signal"], data["question"]["account"]
        ratio = float(signal["target_distance"] or 0) / float(signal["stop_distance"])
        send("agent.answered", {"ask_id": data["ask_id"], "answer": {
            "type": "score", "signal_id": signal["signal_id"],
            "account_id": account["account_id"], "approved": ratio >= RATIO_MIN, "score": "0.5",
            "expected_r": "0.1", "win_rate": signal["confidence"], "samples": 0,
            "reasons": [f"may win {ratio:g} times what it risks"],
        }})  # fmt: skip
    elif kind == "service.drain":
        send("agent.goodbye", {})
        break
    elif kind == "service.refused":
        sys.exit(data["reason"])

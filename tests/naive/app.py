"""The design that people start from, for comparison: one file of Flask, a dictionary, a process for each peer.

It has the faults that such a file has: each worker counts addresses for itself, and a restart forgets them all.
"""

import os
import shlex
import subprocess

from flask import Flask, jsonify, request

app = Flask(__name__)
add_peer = shlex.split(os.environ["ADD_PEER"])
peers = {}


@app.post("/register")
def register():
    if request.headers.get("Authorization") != f"Bearer {os.environ['API_TOKEN']}":
        return jsonify(error="Unauthorized"), 401
    public_key = request.json["public_key"]
    if public_key in peers:
        return jsonify(message="Peer already registered", allocated_ip=peers[public_key])
    number = len(peers) + 2
    address = f"10.77.{number // 256}.{number % 256}"
    subprocess.run([*add_peer, public_key, "allowed-ips", f"{address}/32"], check=True)
    peers[public_key] = address
    return jsonify(message="Peer registered", allocated_ip=address), 201

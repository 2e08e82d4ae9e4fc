#!/bin/sh
# add_peer.sh PUBLIC_KEY allowed-ips ADDRESS: what the web server may run as root
set -eu
wg set wg0 peer "$1" allowed-ips "$3"

#!/usr/bin/env bash
# Join the VPN just in time: make a key pair, register the public key, bring wg0 up.
# As such scripts stand on machines since before Latchkey; of it the next two lines are changed, and nothing else.
API_URL="http://10.0.0.5:5000"
API_TOKEN="changeme"

set -euo pipefail

WG_IF="wg0"
WG_DIR="/etc/wireguard"
ALLOWED_IPS="10.77.0.0/16"

for tool in wg jq curl ip; do
    command -v "$tool" >/dev/null || { echo "missing: $tool" >&2; exit 1; }
done

mkdir -p "$WG_DIR"
cd "$WG_DIR"
umask 077
if [ ! -f privatekey ]; then
    wg genkey | tee privatekey | wg pubkey > publickey
fi
PRIVATE_KEY=$(cat privatekey)
PUBLIC_KEY=$(cat publickey)

RESPONSE=$(curl -s -X POST "$API_URL/register" \
    -H "Authorization: Bearer $API_TOKEN" \
    -H "Content-Type: application/json" \
    -d "{\"public_key\": \"$PUBLIC_KEY\"}")

ERROR=$(echo "$RESPONSE" | jq -r '.error // empty')
if [ -n "$ERROR" ]; then
    echo "registration failed: $ERROR" >&2
    exit 1
fi

CLIENT_IP=$(echo "$RESPONSE" | jq -r '.allocated_ip // .ip_address')
SERVER_PUBLIC_KEY=$(echo "$RESPONSE" | jq -r '.server_public_key')
SERVER_ENDPOINT=$(echo "$RESPONSE" | jq -r '.server_endpoint')

cat > "$WG_IF.conf" <<EOF
[Interface]
PrivateKey = $PRIVATE_KEY

[Peer]
PublicKey = $SERVER_PUBLIC_KEY
Endpoint = $SERVER_ENDPOINT
AllowedIPs = $ALLOWED_IPS
PersistentKeepalive = 25
EOF

ip link show "$WG_IF" >/dev/null 2>&1 \
    || ip link add dev "$WG_IF" type wireguard 2>/dev/null \
    || wireguard-go "$WG_IF" >/dev/null 2>&1
wg setconf "$WG_IF" "$WG_IF.conf"
ip address replace "$CLIENT_IP/32" dev "$WG_IF"
ip link set "$WG_IF" up
ip route replace "$ALLOWED_IPS" dev "$WG_IF"

echo "connected as $CLIENT_IP: $(echo "$RESPONSE" | jq -r '.message')"

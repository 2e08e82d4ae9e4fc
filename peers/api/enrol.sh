#!/bin/sh
# Enrols this machine at a Latchkey portal, brings its tunnel up, renews its place there and gives it back.
# Needs wg and curl; up and down need ip too. `sh enrol.sh --help` says how.
set -eu +ax # no key is printed or exported, not for sh -ax either
umask 077
export LC_ALL=C
# What the caller exports under these names would go on being exported, with what they hold here.
unset token private_key preshared_key answer fields

# The portal that serves this script fills in its address.
PORTAL=''

USAGE=1 NO_TOOL=2 REFUSED=3 AGAIN=4 PENDING=5 HERE=6 NO_PORTAL=7

help() {
    cat <<'END'
Usage: sh enrol.sh [enrol | up | renew | down] [options]

  enrol   make a key pair, enrol its public half, write DIR/NAME.conf; done when no command is given
  up      make the interface NAME from DIR/NAME.conf
  renew   stay longer; with --every, again and again until SIGTERM
  down    remove the interface, revoke this machine at the portal, forget its key

  --token-file FILE   the token is in FILE; -: in standard input; left out: in $LATCHKEY_TOKEN_FILE
  --name NAME         the tunnel: the interface NAME and NAME.conf (latchkey)
  --dir DIR           where NAME.conf and the keys are (/etc/wireguard)
  --peer-name NAME    what the portal calls this machine (its host name)
  --interface IFACE   which of the portal's interfaces (its only one, or the default one)
  --ttl SECONDS       how long this machine stays without renewing (what its account says)
  --wait SECONDS      how long enrol waits until it is on the interface, 0 to 30 (10)
  --new-key           enrol: where the portal has revoked the key, make a new one
  --every SECONDS     renew: do so again after so many seconds
  --down              renew --every: at SIGTERM do what down does
  --json              print JSON, one object a line
  --dry-run           change nothing, ask nobody, print what would be done
  --help              print this

Exit: 0 done; 1 wrong use; 2 a tool is missing; 3 the portal refuses; 4 the portal cannot be reached or is busy: try
again; 5 enrolled, but not on the interface yet; 6 it cannot be done on this machine; 7 what answers is no portal; 143 told
to end while past a tunnel that carries everything.
END
}

main() {
    options "$@"
    case $verb in
        enrol) enrol ;;
        up) up ;;
        renew) renew ;;
        down) down ;;
    esac
}

# --- What is asked for, and what is said ---

options() {
    verb=enrol name=latchkey dir=/etc/wireguard token='' token_file=${LATCHKEY_TOKEN_FILE:-}
    peer_name='' interface='' ttl='' wait=10 every='' new_key='' down_after='' json='' dry_run=''
    for word in "$@"; do # first, since what is wrong before it is to be told in JSON too
        if [ "$word" = --json ]; then json=yes; fi
    done
    case ${1:-} in
        enrol | up | renew | down) verb=$1 && shift ;;
    esac
    while [ $# -gt 0 ]; do
        case $1 in
            --new-key) new_key=yes && shift ;;
            --down) down_after=yes && shift ;;
            --json) shift ;;
            --dry-run) dry_run=yes && shift ;;
            --help) help && exit 0 ;;
            --*=*) unfolded=${1#*=} option=${1%%=*} && shift && set -- "$option" "$unfolded" "$@" ;;
            *) option "$@" && shift 2 ;;
        esac
    done
    check_options
}

option() {
    case $1 in
        --token-file | --name | --dir | --peer-name | --interface | --ttl | --wait | --every) ;;
        --*) wrong "There is no option ${1%%=*}: see --help." ;;
        # It is not repeated: it may be a token.
        *) wrong 'There is an argument too many: see --help. A token is never an argument.' ;;
    esac
    [ $# -gt 1 ] || wrong "$1 needs a value."
    case $1 in
        --token-file) token_file=$2 ;;
        --name) name=$2 ;;
        --dir) dir=$2 ;;
        --peer-name) peer_name=$2 ;;
        --interface) interface=$2 ;;
        --ttl) ttl=$2 ;;
        --wait) wait=$2 ;;
        --every) every=$2 ;;
    esac
}

check_options() {
    [ "$PORTAL" ] || wrong 'Get this script from your portal, at /enrol.sh: it fills in its address.'
    matches "$name" "$TUNNEL" || wrong '--name is at most 15 letters, digits and _ = + . -'
    matches "$interface" "($TUNNEL)?" || wrong '--interface is at most 15 letters, digits and _ = + . -'
    matches "$peer_name" '[^"\[:cntrl:]]{0,256}' || wrong '--peer-name holds a character that no name has.'
    matches "$ttl" "($NUMBER)?" || wrong '--ttl is a number of seconds.'
    matches "$every" "($NUMBER)?" || wrong '--every is a number of seconds.'
    matches "$wait" '[12]?[0-9]|30' || wrong '--wait is 0 to 30 seconds.'
    [ -z "$down_after" ] || [ "$every" ] || wrong '--down goes with renew --every.'
    [ -z "$every" ] || [ "$verb" = renew ] || wrong '--every goes with renew.'
    [ -z "$new_key" ] || [ "$verb" = enrol ] || wrong '--new-key goes with enrol.'
    case $dir in
        /*) ;;
        *) wrong '--dir is an absolute path.' ;;
    esac
    conf_file=$dir/$name.conf key_file=$dir/$name.enrol.key peer_file=$dir/$name.enrol.peer new_file=$dir/$name.enrol.new
}

wrong() {
    fail $USAGE usage "$1"
}

# fail EXIT WORD SENTENCE
fail() {
    printf 'enrol.sh: %s\n' "$3" >&2
    if [ "$json" ]; then
        printf '{"command": "%s", "error": {"code": "%s", "message": %s}, "exit": %s}\n' "$verb" "$2" "$(quoted "$3")" "$1"
    fi
    exit "$1"
}

# said SENTENCE MEMBERS: what was done, for people or for programs.
said() {
    if [ "$json" ]; then
        printf '{"command": "%s", "name": "%s"%s}\n' "$verb" "$name" "$2"
    else
        printf '%s\n' "$1"
    fi
}

note() {
    printf 'enrol.sh: %s\n' "$1" >&2
}

would() {
    said "Would $1" ", \"would\": $(quoted "$1")"
}

quoted() {
    printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037\177' | sed 's/[\\"]/\\&/g')"
}

# "a, b" as the items of a JSON list.
items() {
    printf '%s' "$1" | sed 's/[^, ][^, ]*/"&"/g'
}

# --- What a value must look like, before it goes into a file or a command ---

NEW_LINE='
'
RETURN=$(printf '\r')
NUMBER='[1-9][0-9]{0,8}'
TUNNEL='[a-zA-Z0-9_=+][a-zA-Z0-9_=+.-]{0,14}'
KEY='[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]='
UUID='[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}'
MOMENT='[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]{1,9})?Z'
BYTE='(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])'
IPV4="$BYTE(\\.$BYTE){3}"
H='[0-9A-Fa-f]{1,4}'
IPV6="(($H:){7}$H|($H:){1,7}:|($H:){1,6}:$H|($H:){1,5}(:$H){2}|($H:){1,4}(:$H){3}|($H:){1,3}(:$H){4}|($H:){1,2}(:$H){5}\
|$H:(:$H){6}|:(:$H){1,7}|::)"
LABEL='[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?'
ADDRESS="($IPV4|$IPV6)"
NETWORK="($IPV4/(3[0-2]|[12]?[0-9])|$IPV6/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))"
ENDPOINT="($LABEL(\\.$LABEL)*|\\[$IPV6\\]):[1-9][0-9]{0,4}"

# matches VALUE PATTERN: all of it, and it is one line.
matches() {
    case $1 in
        *"$NEW_LINE"*) return 1 ;;
    esac
    printf '%s\n' "$1" | grep -Eqx -- "$2"
}

# --- What the portal says ---

way=''

# ask METHOD PATH SECONDS [BODY]: set status, and fields with what the answer holds.
ask() {
    $way request "$@"
    if ! is_answered && is_dead; then
        way=past_the_tunnel # for what else is asked, too
        $way request "$@"
    fi
    is_answered || fail $AGAIN unreachable "The portal at $PORTAL cannot be reached, or its answer broke off."
    if [ "$status" = 204 ]; then
        fields=''
    elif ! fields=$(printf '%s\n' "${answer%"$NEW_LINE"*}" | values); then
        fields=''
        case $status in
            2*) no_portal 'no JSON' ;;
        esac
    fi
}

request() {
    # The token goes by a pipe: whoever lists the processes sees arguments.
    answer=$(
        exec 9<&- # curl may outlive the script that was told to end
        {
            printf 'header = "Authorization: Bearer %s"\n' "$token" |
                curl -q -sS --max-time "$3" -K - -X "$1" \
                    -H 'Accept: application/json' -H 'Content-Type: application/json' ${4:+--data-binary "$4"} \
                    -w '\n%{http_code}' "$PORTAL$2" || printf ' %s' "$?"
        } | head -c $LONGEST
    )
    status=${answer##*"$NEW_LINE"}
}
LONGEST=65536

is_answered() {
    matches "$status" '[1-5][0-9]{2}'
}

# Print each value of a JSON text as "key value", of an object within as "key.key value", of a list one a line.
# What is not printable ASCII becomes "?"; end with 1 where it is no JSON.
values() {
    awk '
        function refuse() { exit 1 }
        function token() {
            sub(/^[ \t\r\n]+/, "", text)
            if (!match(text, /^("([^"\\]|\\.)*"|[][{}:,]|-?[0-9][-+.0-9eE]*|true|false|null)/)) refuse()
            next_one = substr(text, 1, RLENGTH)
            text = substr(text, RLENGTH + 1)
        }
        function is_text() { return next_one ~ /^"/ }
        function decoded(quoted,   plain, at, kind) {
            if (quoted ~ /[\001-\037]/) refuse()
            quoted = substr(quoted, 2, length(quoted) - 2)
            while (at = index(quoted, "\\")) {
                kind = substr(quoted, at + 1, 1)
                plain = plain substr(quoted, 1, at - 1) (kind == "u" ? character(substr(quoted, at + 2, 4)) : escaped(kind))
                quoted = substr(quoted, at + (kind == "u" ? 6 : 2))
            }
            plain = plain quoted
            gsub(/[^ -~]/, "?", plain)
            return plain
        }
        function escaped(kind) {
            if (kind !~ /["\\\/bfnrt]/) refuse()
            return kind ~ /[bfnrt]/ ? "?" : kind
        }
        function character(digits,   code, i) {
            if (digits !~ /^[0-9a-fA-F][0-9a-fA-F][0-9a-fA-F][0-9a-fA-F]$/) refuse()
            for (i = 1; i <= 4; i++) code = code * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
            if (code in PLAIN) return PLAIN[code]
            return code < 32 || code > 126 ? "?" : sprintf("%c", code)
        }
        function value(path, depth) {
            if (depth > 8) refuse()
            if (next_one == "{") members(path, depth)
            else if (next_one == "[") list(path, depth)
            else if (is_text()) print path " " decoded(next_one)
            else if (next_one !~ /^[-0-9tfn]/) refuse()
            else if (next_one != "null") print path " " next_one
        }
        function members(path, depth,   key) {
            token()
            if (next_one == "}") return
            for (;;) {
                if (!is_text()) refuse()
                key = decoded(next_one)
                token()
                if (next_one != ":") refuse()
                token()
                value(path == "" ? key : path "." key, depth + 1)
                token()
                if (next_one == "}") return
                if (next_one != ",") refuse()
                token()
            }
        }
        function list(path, depth) {
            token()
            if (next_one == "]") return
            for (;;) {
                value(path, depth + 1)
                token()
                if (next_one == "]") return
                if (next_one != ",") refuse()
                token()
            }
        }
        BEGIN { PLAIN[8216] = PLAIN[8217] = "\047"; PLAIN[8220] = PLAIN[8221] = "\042"; PLAIN[8230] = "..." }
        { text = text $0 "\n" }
        END {
            token()
            if (next_one != "{") refuse()
            value("", 0)
            if (text !~ /^[ \t\r\n]*$/) refuse()
        }'
}

field() {
    printf '%s\n' "$fields" | sed -n "s/^$1 //p"
}

# one FIELD PATTERN
one() {
    matches "$(field "$1")" "$2" && field "$1"
}

# some FIELD PATTERN: "a, b", one at least.
some() {
    if field "$1" | grep -Evqx -- "$2"; then return 1; fi
    field "$1" | awk 'NR > 1 { printf ", " } { printf "%s", $0 } END { exit !NR }'
}

# any FIELD PATTERN: the same, or nothing.
any() {
    [ -z "$(field "$1")" ] || some "$1" "$2"
}

# at_most_one FIELD PATTERN
at_most_one() {
    [ -z "$(field "$1")" ] || one "$@"
}

endpoint() {
    found=$(one server_endpoint "$ENDPOINT") && [ "${found##*:}" -le 65535 ] && printf '%s' "$found"
}

# number FIELD LEAST MOST
number() {
    found=$(one "$1" '[0-9]{1,5}') && [ "$found" -ge "$2" ] && [ "$found" -le "$3" ] && printf '%s' "$found"
}

no_portal() {
    fail $NO_PORTAL no_portal "What answers at $PORTAL is no portal of Latchkey: $1. Nothing of it was used."
}

refused() {
    word=$(one error.code '[a-z_]{1,40}') || word=''
    sentence="$(field error.message | head -n 1) (${word:-$status})"
    case "$status $word" in
        429* | 5* | '409 pool_exhausted') fail $AGAIN "${word:-http_$status}" "The portal cannot do it now: $sentence" ;;
        4*' '?*) fail $REFUSED "$word" "The portal refuses: $sentence" ;;
        *) no_portal "it answers with $status" ;;
    esac
}

# Take what a peer's answer holds into variables, each as it must be, or end.
take() {
    id=$(one id "$UUID") || no_portal id
    [ "$(field public_key)" = "$public_key" ] || no_portal public_key
    addresses=$(some addresses "$NETWORK") || no_portal addresses
    dns=$(any dns "$ADDRESS") || no_portal dns
    mtu=$(number mtu 576 65535) || no_portal mtu
    server_public_key=$(one server_public_key "$KEY") || no_portal server_public_key
    server_endpoint=$(endpoint) || no_portal server_endpoint
    networks=$(some client_allowed_ips "$NETWORK") || no_portal client_allowed_ips
    keepalive=$(number persistent_keepalive 0 65535) || no_portal persistent_keepalive
    preshared_key=$(at_most_one preshared_key "$KEY") || no_portal preshared_key
    expires_at=$(at_most_one expires_at "$MOMENT") || no_portal expires_at
    state=$(one state '[a-z_]{1,20}') || no_portal state
    on=$(one interface "$TUNNEL") || no_portal interface
}

# --- What is kept: the key, the configuration, and which peer it is ---

conf() {
    printf '[Interface]\nPrivateKey = %s\nAddress = %s\n' "$(cat "$key_file")" "$addresses"
    if [ "$dns" ]; then printf 'DNS = %s\n' "$dns"; fi
    printf 'MTU = %s\n\n[Peer]\nPublicKey = %s\n' "$mtu" "$server_public_key"
    if [ "$preshared_key" ]; then printf 'PresharedKey = %s\n' "$preshared_key"; fi
    printf 'AllowedIPs = %s\nEndpoint = %s\n' "$networks" "$server_endpoint"
    if [ "$keepalive" != 0 ]; then printf 'PersistentKeepalive = %s\n' "$keepalive"; fi
}

of_conf() {
    if [ -e "$conf_file" ]; then sed -n "s/^$1 = //p" "$conf_file"; fi
}

conf_is_current() {
    [ -e "$conf_file" ] && [ "$(conf)" = "$(cat "$conf_file")" ]
}

# That it is not applied is written first: whoever is killed in between leaves it to the next renewal.
keep() {
    applied=$(kept applied)
    conf_is_current || applied=no
    store "$peer_file" "id $id
expires_at $expires_at
interface $on
ttl $ttl
applied $applied"
    if ! conf_is_current; then store "$conf_file" "$(conf)"; fi
}

kept() {
    if [ -e "$peer_file" ]; then sed -n "s/^$1 //p" "$peer_file"; fi
}

# keep_applied yes | no: whether the interface is as NAME.conf says, as far as up and renew have to do with it.
keep_applied() {
    if [ -e "$peer_file" ]; then store "$peer_file" "$(sed '/^applied /d' "$peer_file")${NEW_LINE}applied $1"; fi
}

# store FILE TEXT: all of it or nothing, for its owner's eyes.
store() {
    { printf '%s\n' "$2" >"$new_file" && mv -f "$new_file" "$1"; } || fail $HERE files "$1 cannot be written."
}

# One at a time in DIR: another waits, and finds what this one did. The kernel lets it go on however this one ends.
# Where there is no flock(1), as with some builds of BusyBox, whoever calls this is to see to it.
alone() {
    if [ "$dry_run" ] || [ ! -d "$dir" ]; then return; fi
    [ -r "$dir" ] || fail $HERE files "$dir cannot be read: that takes root."
    exec 9<"$dir"
    ! command -v flock >/dev/null || flock 9 || fail $HERE files "$dir cannot be locked."
    # What one left that was killed, and it may hold the key.
    rm -f "$new_file" || fail $HERE files "$new_file cannot be deleted."
    into_the_tunnel # where that one was past it
}

make_key() {
    if [ -e "$conf_file" ] && [ ! -e "$key_file" ]; then
        fail $HERE not_ours "$conf_file is there already and not of this script's making: choose another --name."
    fi
    if [ ! -s "$key_file" ]; then # empty: a power cut's
        private_key=$(wg genkey) || fail $HERE files 'wg makes no key.'
        store "$key_file" "$private_key"
    fi
    read_key
}

read_key() {
    [ -s "$key_file" ] || not_enrolled
    public_key=$(wg pubkey <"$key_file") || public_key=''
    matches "$public_key" "$KEY" || fail $HERE files "$key_file holds no key."
}

not_enrolled() {
    fail $HERE not_enrolled "This machine is not enrolled as $name: run enrol first."
}

# The key goes last: while it is there, all of this can be done again.
forget() {
    { rm -f "$conf_file" "$peer_file" && rm -f "$key_file"; } || fail $HERE files "The files in $dir cannot be deleted."
}

# A file is read each time, since it may be changed while renew goes on; standard input once.
read_token() {
    case $token_file in
        '') wrong 'Say where the token is: --token-file FILE, or - for standard input.' ;;
        -) [ "$token" ] || read -r token || : ;;
        *)
            [ -r "$token_file" ] || wrong 'The token file cannot be read.'
            read -r token <"$token_file" || :
            ;;
    esac
    token=${token%"$RETURN"} # of a file that was written on Windows
    matches "$token" '[A-Za-z0-9._~+/=-]{1,200}' || wrong 'The first line of what --token-file names is no token.'
}

need() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null || fail $NO_TOOL no_tool "$tool is not installed."
    done
}

# --- enrol ---

enrol() {
    need wg curl
    read_token
    if [ "$dry_run" ]; then
        plan_enrol
        return
    fi
    mkdir -p "$dir" || fail $HERE files "$dir cannot be made."
    alone
    make_key
    take_place
    told_place
}

plan_enrol() {
    if [ -s "$key_file" ]; then would "use the key in $key_file"; else would "make a key pair in $key_file"; fi
    would "send its public half to $PORTAL/api/v1/peers"
    would "write $conf_file"
}

take_place() {
    [ "$ttl" ] || ttl=$(kept ttl)
    ask_place
    if [ "$status" = 409 ] && [ "$(field error.code)" = key_revoked ] && [ "$new_key" ]; then
        drop_link
        forget
        make_key
        ask_place
    fi
    case $status in
        200 | 201 | 202) ;;
        *) refused ;;
    esac
    take
    keep
}

# The interface is named again, since the key is taken on that one only, and another may have become the usual one.
ask_place() {
    [ "$interface" ] || interface=$(kept interface)
    ask POST "/api/v1/peers?wait=$wait" $((wait + 15)) "$(wish)"
}

wish() {
    [ "$peer_name" ] || peer_name=$(uname -n | tr -cd 'A-Za-z0-9._-' | head -c 64)
    printf '{"public_key": "%s"' "$public_key"
    if [ "$peer_name" ]; then printf ', "name": "%s"' "$peer_name"; fi
    if [ "$interface" ]; then printf ', "interface": "%s"' "$interface"; fi
    if [ "$ttl" ]; then printf ', "ttl": %s' "$ttl"; fi
    printf '}'
}

told_place() {
    until=null
    if [ "$expires_at" ]; then until="\"$expires_at\""; fi
    said "$addresses on $on, $state, until ${expires_at:-it is revoked}: $conf_file" \
        ", \"id\": \"$id\", \"public_key\": \"$public_key\", \"interface\": \"$on\", \"state\": \"$state\", \"addresses\": \
[$(items "$addresses")], \"dns\": [$(items "$dns")], \"expires_at\": $until, \"conf\": $(quoted "$conf_file")"
    if [ "$status" = 202 ]; then exit $PENDING; fi
}

# --- up ---

# Where everything goes through the tunnel: the mark of WireGuard's own packets, the table of all others, and the rules,
# as ip(8) shows them: the main table first, without its default, and then that one.
TABLE=27755 MARK=0x6c6b
MAIN_RULE='27754: from all lookup main suppress_prefixlength 0' TUNNEL_RULE="$TABLE: not from all fwmark $MARK lookup $TABLE"

up() {
    need wg ip
    alone
    [ -s "$conf_file" ] || not_enrolled
    read_key
    if [ "$dry_run" ]; then
        plan_up
        return
    fi
    stands || make_link
    apply syncconf
    said "$name is up with $(of_conf Address)" ", \"up\": true, \"addresses\": [$(items "$(of_conf Address)")], \"dns\": [$(items "$(of_conf DNS)")]"
    if [ "$(of_conf DNS)" ]; then note "The network's name servers are $(of_conf DNS): nothing here was set to ask them."; fi
}

plan_up() {
    if stands; then would "keep the interface $name"; else would "make the interface $name"; fi
    would "give it $(of_conf Address), an MTU of $(of_conf MTU) and routes to $(of_conf AllowedIPs)"
}

link_is_ours() {
    case $(wg show "$name" public-key 2>/dev/null || :) in
        "$public_key" | '(none)') return 0 ;;
        *) return 1 ;;
    esac
}

# Whether the interface is there; end where it is somebody else's.
stands() {
    if link_is_ours; then return 0; fi
    if ip link show dev "$name" >/dev/null 2>&1; then
        fail $HERE not_ours "There is an interface $name that is not this tunnel's: choose another --name."
    fi
    return 1
}

make_link() {
    if reason=$(ip link add dev "$name" type wireguard 2>&1); then return; fi
    case $reason in
        *'not permitted'*) fail $HERE interface "The interface $name cannot be made: that takes root, or CAP_NET_ADMIN." ;;
    esac
    command -v wireguard-go >/dev/null ||
        fail $NO_TOOL no_tool "The kernel makes no WireGuard interface here, and wireguard-go is not installed."
    LOG_LEVEL='' wireguard-go "$name" </dev/null >/dev/null 2>&1 9<&- ||
        fail $HERE interface "The interface $name cannot be made: that takes root, or CAP_NET_ADMIN and /dev/net/tun."
}

# apply syncconf | setconf: the second also ends the session that there is, so that the next packet begins one.
apply() {
    can_route
    remove_stale
    if is_named && is_dead; then past_the_tunnel configure "$1"; else configure "$1"; fi
    must ip link set dev "$name" mtu "$(of_conf MTU)"
    for address in $(usable Address); do must ip address replace "$address" dev "$name"; done
    must ip link set dev "$name" up
    for network in $(usable AllowedIPs); do route "$network"; done
    keep_applied yes
}

configure() {
    of_wg | wg "$1" "$name" /dev/stdin || fail $HERE interface "wg does not take $conf_file."
}

# Whether wg(8) has to ask for the gateway's address, and not through a tunnel that waits for that very answer.
is_named() {
    gateway=$(of_conf Endpoint)
    ! matches "${gateway%:*}" "$IPV4|\\[.*"
}

can_route() {
    if has_everything && ! ip -V 2>&1 | grep -q iproute2; then
        fail $NO_TOOL no_tool "Where everything goes through the tunnel, ip has to be iproute2's."
    fi
}

# What wg(8) itself reads of the file, and what it would begin anew if it were not told; the rest is for wg-quick(8).
of_wg() {
    printf '[Interface]\nFwMark = %s\n' "$(mark)"
    port=$(wg show "$name" listen-port)
    if [ "$port" != 0 ]; then printf 'ListenPort = %s\n' "$port"; fi
    sed -e 1d -e '/^Address = /d' -e '/^DNS = /d' -e '/^MTU = /d' "$conf_file"
}

mark() {
    if is_routed_by_us; then
        if has_everything; then printf '%s' $MARK; else printf off; fi
    else
        wg show "$name" fwmark
    fi
}

# Whether what goes through the tunnel is this script's to say: wg-quick(8), which can send everything there as well, gives
# the tunnel's packets a mark of its own.
is_routed_by_us() {
    case $(wg show "$name" fwmark) in
        off | "$MARK") return 0 ;;
        *) return 1 ;;
    esac
}

# usable FIELD: its addresses or networks, without IPv6 where the kernel has none.
usable() {
    for word in $(of_conf "$1" | tr -d ,); do
        case $word in
            *:*) if ! has_ipv6; then continue; fi ;;
        esac
        if matches "$word" "$NETWORK"; then printf '%s\n' "$word"; fi
    done
}

has_ipv6() {
    [ "$(cat "/proc/sys/net/ipv6/conf/$name/disable_ipv6" 2>/dev/null)" = 0 ]
}

family() {
    case $1 in
        *:*) printf -- -6 ;;
        *) printf -- -4 ;;
    esac
}

must() {
    "$@" || fail $HERE interface "This failed: $*"
}

has_everything() {
    case " $(of_conf AllowedIPs | tr -d ,) " in
        *'/0 '*) return 0 ;;
        *) return 1 ;;
    esac
}

# A route that stood before goes on standing behind this one, and is used again once the interface is gone.
route() {
    case $1 in
        */0) if is_routed_by_us; then route_everything "$(family "$1")" "$1"; fi ;;
        *:*) has_route -6 "$1" || route_ipv6 "$1" ;;
        *) has_route -4 "$1" || must ip -4 route prepend "$1" dev "$name" ;;
    esac
}

has_route() {
    [ "$(ip "$1" route show "$2" dev "$name")" ]
}

# IPv6's routes to one network stand in the order of their metrics, each of which is one route's.
route_ipv6() {
    metric=1
    until ip -6 route add "$1" dev "$name" metric $metric 2>/dev/null; do
        metric=$((metric + 1))
        [ $metric -le 64 ] || fail $HERE interface "No route to $1 can be set."
    done
}

# As wg-quick(8) does: all but WireGuard's own packets, and but what the main table knows better than by its default.
# Each tunnel has a route of its own in the table, with its interface's number as the metric.
route_everything() {
    link=$(ip -o link show dev "$name")
    must ip "$1" route replace "$2" dev "$name" table $TABLE metric "${link%%:*}"
    add_rules "$1"
}

add_rules() {
    for rule in "$MAIN_RULE" "$TUNNEL_RULE"; do
        has_rule "$1" "$rule" || change_rule "$1" add "$rule"
    done
}

# has_rule FAMILY RULE
has_rule() {
    ip "$1" rule show 2>/dev/null | sed 's/[[:space:]]\{1,\}/ /g; s/ $//' | grep -Fqx -- "$2"
}

# change_rule FAMILY add | delete RULE
change_rule() {
    # shellcheck disable=SC2086 # its words
    must ip "$1" rule "$2" pref "${3%%:*}" ${3#*: }
}

# The rules are those of all tunnels whose routes are in the table, so they go with the last of these.
remove_unused_rules() {
    [ "$(ip "$1" route show table $TABLE 2>/dev/null)" ] || remove_rules "$1"
}

remove_rules() {
    for rule in "$TUNNEL_RULE" "$MAIN_RULE"; do
        if has_rule "$1" "$rule"; then change_rule "$1" delete "$rule"; fi
    done
}

# Whether everything goes that way, and nothing has for long: no session of WireGuard's lives longer than three minutes.
is_dead() {
    carries_everything -4 || carries_everything -6 || return 1
    age=$(($(date +%s) - $(wg show "$name" latest-handshakes | awk '{ at = $2 } END { print at + 0 }')))
    [ $age -gt 180 ] || [ $age -lt 0 ] # the clock was set back
}

carries_everything() {
    [ "$(ip "$1" route show table $TABLE dev "$name" 2>/dev/null)" ]
}

# past_the_tunnel COMMAND...: with what goes by its default on its old way, past other tunnels too, which may be as dead.
# However this ends, that is put back; after a kill, by whatever is called next.
past_the_tunnel() {
    trap 'trap "" HUP INT TERM; into_the_tunnel' EXIT
    trap 'trap "" HUP INT TERM; exit 143' HUP INT TERM # a second one would cut short what the first began
    for version in -4 -6; do
        if carries_everything $version; then remove_rules $version; fi
    done
    "$@"
    into_the_tunnel
    trap - EXIT HUP INT TERM
}

into_the_tunnel() {
    for version in -4 -6; do
        if carries_everything $version; then add_rules $version; fi
    done
}

# Take off what an earlier configuration left: its networks are those that the interface still lets in.
remove_stale() {
    for address in $(ip -o address show dev "$name" scope global | awk '{ print $4 }' | other_than Address); do
        must ip address delete "$address" dev "$name"
    done
    for network in $(wg show "$name" allowed-ips | awk '{ for (i = 2; i <= NF; i++) print $i }' | other_than AllowedIPs); do
        case $network in
            */0) remove_everything "$(family "$network")" "$network" ;;
            *.*/* | *:*/*) ip "$(family "$network")" route delete "$network" dev "$name" 2>/dev/null || : ;;
        esac
    done
}

remove_everything() {
    ip "$1" route delete "$2" dev "$name" table $TABLE 2>/dev/null || :
    remove_unused_rules "$1"
}

other_than() {
    awk -v wanted=" $(of_conf "$1" | tr -d ,) " 'index(wanted, " " $1 " ") == 0 { print $1 }'
}

# --- renew ---

renew() {
    child=''
    if [ "$every" ]; then trap stop TERM INT; fi # at once: the first process of a container is not ended by default
    need wg curl
    if [ "$every$dry_run" ]; then read_token; fi # otherwise once: it may be a pipe
    [ -s "$key_file" ] || not_enrolled
    if [ "$dry_run" ]; then
        would "ask $PORTAL to let $(kept id) stay longer${every:+, every $every s}"
    elif [ "$every" ]; then
        renew_on
    else
        renew_once
    fi
}

renew_on() {
    while [ -s "$key_file" ]; do # which down takes away
        code=0
        (renew_once) &
        child=$!
        wait "$child" || code=$?
        case $code in
            0) pause=$every ;;
            "$REFUSED") exit "$code" ;;
            *) pause=$((every / 10 + 1)) ;; # also where the token is just being written
        esac
        sleep "$pause" &
        child=$!
        wait "$child" || :
    done
}

stop() {
    trap '' TERM INT
    if [ "$child" ]; then
        kill "$child" 2>/dev/null || :
        wait "$child" || :
    fi
    if [ "$down_after" ]; then down; fi
    exit 0
}

renew_once() {
    alone
    read_token
    read_key
    [ "$ttl" ] || ttl=$(kept ttl)
    id=$(kept id)
    if ! matches "$id" "$UUID"; then
        enrol_again
        return
    fi
    ask POST "/api/v1/peers/$id/renew" 15 "{${ttl:+\"ttl\": $ttl}}"
    case "$status $(field error.code)" in
        200*) take_renewed ;;
        '409 expired' | '404 not_found') enrol_again ;;
        *) refused ;;
    esac
}

take_renewed() {
    take
    preshared_key=$(of_conf PresharedKey) # which is in answers to an enrolment only
    if conf_is_current; then
        keep
        if [ "$(kept applied)" = no ] && link_is_ours; then need ip && apply syncconf; fi
        told_place
    else
        enrol_again
    fi
}

# Nobody has answered this machine since it was taken off, so its interface is to begin anew.
enrol_again() {
    take_place
    if link_is_ours; then need ip && apply setconf; fi
    told_place
}

# --- down ---

down() {
    need wg ip
    alone
    if [ ! -s "$key_file" ]; then
        said "There is nothing of $name here." ', "revoked": false'
        return
    fi
    read_key
    if [ "$dry_run" ]; then
        plan_down
        return
    fi
    need curl
    read_token
    drop_link
    revoke
    forget
    said "$name is revoked, and its key forgotten." ', "revoked": true'
}

plan_down() {
    if link_is_ours; then would "remove the interface $name"; fi
    would "revoke $(kept id) at $PORTAL"
    would "delete $key_file, $conf_file and $peer_file"
}

drop_link() {
    if link_is_ours; then must ip link delete dev "$name"; fi
    remove_unused_rules -4
    remove_unused_rules -6
}

revoke() {
    id=$(kept id)
    matches "$id" "$UUID" || find_id
    if [ "$id" ]; then
        ask DELETE "/api/v1/peers/$id" 15
        case "$status $(field error.code)" in
            204* | '404 not_found') ;; # the second: the portal has forgotten it, or it was never this token's
            *) refused ;;
        esac
    fi
}

# The answer that told it was lost. The same key again has the same answer, and one that these refuse has no place.
find_id() {
    wait=0
    ask_place
    case "$status $(field error.code)" in
        20[01]*) id=$(one id "$UUID") || no_portal id ;;
        '409 key_revoked' | '409 peer_limit' | '409 pool_exhausted') id='' ;;
        *) refused ;;
    esac
}

main "$@"

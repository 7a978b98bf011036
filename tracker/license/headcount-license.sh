#!/bin/sh
# SPDX-License-Identifier: MIT
# Asks a Headcount server whether this install has a good license; without an answer, the last one goes on.
#   headcount-license.sh check        asks if it is time to: for cron, every ten minutes
#   headcount-license.sh check now    asks in any case; 2 seconds at most
#   headcount-license.sh status       says what is known, in lines of name=value; exit code 0: it may run
#   headcount-license.sh release      gives the seat back, when the software is uninstalled
# Needs curl and OpenSSL 3. The vendor fills in these four; they stand here, never in a file made to be edited.
URL=https://count.example.com
ROOT_KEY=
PRODUCT=acme
VERSION=1.0.0
FOLDER=${HEADCOUNT_FOLDER:-/var/lib/$PRODUCT}

umask 077
export LC_ALL=C
exec 2>/dev/null # what goes wrong is said as `problem`
TEMPORARY=$(mktemp -d) || exit 1
trap 'rm -rf "$TEMPORARY" "$PART"' EXIT
STATUSES='active|grace|expired|suspended|revoked|over_seats|unknown|wrong_product'
TOLERANCE=300 NUMBERS='sequence keys_sequence seen offset asked next interval failures'
ROOT=$(printf 'keys.0.%s\n' kid=root use=keys "x=$ROOT_KEY" not_before=0 not_after=0)

# JSON as lines of path=value, such as seats.used=3. Null is empty; of the escapes, only \" is resolved.
flat() {
    awk '{ s = s $0 " " } END {
        while (match(s, /"([^"\\]|\\.)*"|[][{},]|[^][{},:" \t]+/)) {
            t = substr(s, RSTART, RLENGTH); s = substr(s, RSTART + RLENGTH)
            if (t ~ /^[[{]$/) { list[++depth] = (t == "["); name[depth] = 0; key = (t == "{") }
            else if (t ~ /^[]}]$/) { depth--; key = 0 }
            else if (t == ",") { key = !list[depth]; name[depth]++ }
            else {
                gsub(/^null$|^"|"$/, "", t); gsub(/\\"/, "\"", t)
                if (key) { name[depth] = t; key = 0; continue }
                path = name[1]; for (i = 2; i <= depth; i++) path = path "." name[i]
                print path "=" t
            }
        }
    }'
}

get() { printf '%s\n' "$1" | sed -n "/^$2=/{s///p;q;}"; }
random() { od -An -v -N "$1" -t "${2-x1}" /dev/urandom | tr -d ' \n'; }
between() { echo $(($1 + $(random 4 u4) % ($2 - $1 + 1))); }
digest() { openssl dgst -sha256 -r | cut -c 1-64; }
now() { echo $(($(date +%s) + offset)); } # the server's time, as far as this machine's clock can tell
keep() { printf '%s\n' "$2" >"$PART" && $3 "$PART" "$FOLDER/$1"; } # a file that is whole, or not there

decode() { # base64url to bytes
    case $((${#1} % 4)) in 2) end='==' ;; 3) end='=' ;; *) end='' ;; esac
    printf '%s%s' "$1" "$end" | tr -- '-_' '+/' | openssl base64 -d -A
}

# HMAC-SHA256 of $1 under the license key, by hand: so the key is on no command line for others to see.
hmac() {
    bytes=$({ printf %s "$KEY"; head -c 64 /dev/zero; } | head -c 64 | od -An -v -t u1)
    inner=$(for byte in $bytes; do printf '\\%03o' $((byte ^ 54)); done)
    outer=$(for byte in $bytes; do printf '\\%03o' $((byte ^ 92)); done)
    # shellcheck disable=SC2059 # they are octal escapes
    { printf "$outer"; { printf "$inner"; printf %s "$1"; } | openssl dgst -sha256 -binary; } | digest
}

# What is signed, as lines, if one of the keys $3 has signed just these bytes $1 for the use $2. 2: no such key.
signed() {
    case $1 in *[!A-Za-z0-9_.-]* | *.*.*.* | .* | *..* | *.) return 1 ;; *.*.*) ;; *) return 1 ;; esac
    header=$(decode "${1%%.*}" | flat)
    kid=$(get "$header" kid)
    [ "$(get "$header" alg) $(get "$header" typ)" = "Ed25519 headcount-$2+jws" ] || return 1
    case $header,$kid in *crit* | *, | *,*[!A-Za-z0-9_-]*) return 1 ;; esac
    key=keys.$(printf '%s\n' "$3" | sed -n "s/^keys\.\([0-9]*\)\.kid=$kid\$/\1/p" | head -n 1)
    [ "$key" != keys. ] || return 2
    printf %s "${1%.*}" >"$TEMPORARY/bytes"
    decode "${1##*.}" >"$TEMPORARY/signature"
    { printf '0*0\005\006\003+ep\003!\000'; decode "$(get "$3" "$key.x")"; } >"$TEMPORARY/key"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$TEMPORARY/key" -rawin -in "$TEMPORARY/bytes" \
        -sigfile "$TEMPORARY/signature" >/dev/null || return 1
    payload=${1#*.}
    payload=$(decode "${payload%.*}" | flat)
    at=$(get "$payload" server_time)
    [ "$(get "$3" "$key.use")" = "$2" ] && [ "${at:-0}" -le "$(get "$3" "$key.not_after")" ] &&
        [ "${at:-0}" -ge $(($(get "$3" "$key.not_before") - TOLERANCE)) ]
}

# Reads the answer $1 under the key set $2: if it is certified, about us, and no older than what is known.
read_answer() {
    signed "$2" keys "$ROOT" || return 1
    certified=$payload
    signed "$1" check "$certified" || return
    [ "$(get "$payload" key_digest) $(get "$payload" instance_digest)" = "$KEY_DIGEST $INSTANCE_DIGEST" ] || return 1
    [ "$(get "$payload" product) $(get "$certified" product)" = "$PRODUCT $PRODUCT" ] || return 1
    get "$payload" status | grep -qxE "$STATUSES" || return 1
    [ "$(get "$certified" sequence)" -ge "$keys_sequence" ] &&
        [ "$(get "$payload" sequence)" -ge $((sequence - TOLERANCE * 1000000)) ]
}

# Takes what is in the cache, unless it is garbage, forged or of another key.
load() {
    answer='' keys='' says='' problem='no answer yet'
    for name in $NUMBERS; do eval "$name=0"; done
    lines=$(flat <"$FOLDER/$CACHE")
    numbers=$(printf '%s\n' "$lines" | grep -E "^(offset=-?|($(echo "$NUMBERS" | tr ' ' \|))=)(0|[1-9][0-9]{0,17})\$")
    [ "$(printf '%s\n' "$numbers" | grep -c .)" -eq 8 ] || return
    given=$(get "$lines" answer)
    [ -z "$given" ] || read_answer "$given" "$(get "$lines" keys)" || return
    answer=$given says=${given:+$payload} keys=$(get "$lines" keys) problem=$(get "$lines" problem)
    eval "$numbers"
}

save() {
    problem=$(printf %s "$problem" | tr -cd ' -z|~' | tr -d '\042[\134]' | cut -c 1-300)
    text=$(printf '"answer":"%s","keys":"%s","problem":"%s"' "$answer" "$keys" "$problem" | sed 's/:""/:null/g')
    for name in $NUMBERS; do eval "text=\$text,\\\"$name\\\":\$$name"; done
    keep "$CACHE" "{$text}" 'mv -f' || problem=${problem:-nothing can be kept}
}

# Sends $2 to $1; the JSON that comes back as lines in $reply.
post() {
    reply=$(printf %s "$2" | curl -q --silent --show-error --max-time "$left" --proto =http,https --data-binary @- \
        --header 'Content-Type: application/json' --user-agent headcount-license \
        --write-out '\n%{http_code} %{time_total}\n' "$URL$1" 2>"$TEMPORARY/error" | head -c 65600)
    last=$(printf '%s\n' "$reply" | tail -n 1) reply=$(printf '%s\n' "$reply" | sed '$d')
    left=$(echo "$left ${last#* }" | awk '{ print ($1 - $2 > 0.01 ? $1 - $2 : 0.01) }')
    problem="the server answered ${last% *}: $reply $(cat "$TEMPORARY/error")"
    [ "${last% *}" = 200 ] && reply=$(printf %s "$reply" | flat)
}

# One question and its answer, with a new key set each time: keys come, end, and are stolen.
exchange() {
    nonce=$(random 24) token=$(get "$says" token)
    more="\"nonce\":\"$nonce\"${token:+,\"token\":\"$token\"},\"keys\":true"
    post /api/license/check "{$INSTALL,$SYSTEM,$more}" || return 1
    problem='the answer is not certified, not to our question, or no more than a guess' given=$(get "$reply" keys)
    read_answer "$(get "$reply" answer)" "${given:=$keys}" || return
    case $(get "$payload" conclusive),$(get "$payload" status) in true,* | *,active | *,grace) ;; *) return 1 ;; esac
    [ "$(get "$payload" nonce)" = "$nonce" ] || return 1
    answer=$(get "$reply" answer) keys=$given says=$payload failures=0 problem=''
    seen=$(get "$says" server_time) asked=$seen offset=$((seen - $(date +%s)))
    interval=$(($(get "$says" check_after) - seen)) interval=$((interval > 60 ? interval : 60))
    next=$((seen + $(between $((interval * 9 / 10)) $((interval * 11 / 10)))))
    newest=$(get "$says" sequence) sequence=$((newest > sequence ? newest : sequence))
    keys_sequence=$(get "$certified" sequence)
}

ask() {
    most=$((interval < 60 ? 3600 : interval)) failures=$((failures + 1)) asked=$(now) left=1.9
    [ "$failures" -gt 12 ] || [ $((30 << failures)) -gt "$most" ] || most=$((30 << failures))
    next=$((asked + $(between 5 "$most")))
    save # it has failed until it succeeds: so no other process asks meanwhile
    exchange
    save
}

show() {
    now=$(now) allowed=false status=$(get "$says" status) conclusive=$(get "$says" conclusive)
    from=$(get "$says" server_time)
    case $status in active | grace)
        if [ "$now" -lt $(((seen > from ? seen : from) - TOLERANCE)) ]; then
            says='' problem='the clock was set back'
        elif [ "$now" -le "$(get "$says" valid_until)" ]; then
            allowed=true
        elif [ "$now" -le "$(get "$says" grace_until)" ]; then
            allowed=true status=grace conclusive=false
        else
            says='' problem=${problem:-the last answer is too old}
        fi ;;
    esac
    [ -n "$says" ] || status=unverified conclusive=false
    printf '%s\n' "status=$status" "allowed=$allowed" "conclusive=$conclusive" "problem=$problem"
    printf '%s\n' "$says" | grep -E '^(plan|expires_at|(seats|update|entitlements)\.[^=]*)='
    [ $allowed = true ]
}

KEY=$(printf %s "${HEADCOUNT_KEY:-}" | tr -d ' \t\r\n-' | tr '[:lower:]' '[:upper:]' | tr OIL 011 | tr -cd 0-9A-Z)
PART=$FOLDER/.headcount.$(random 8)
mkdir -p "$FOLDER"
[ -e "$FOLDER/headcount-instance" ] || keep headcount-instance "$(random 16)" ln && rm -f "$PART"
instance=$(grep -xE '[0-9a-f]{32}' "$FOLDER/headcount-instance") || instance=$(hmac "$FOLDER" | cut -c 1-32)
KEY_DIGEST=$(printf %s "$KEY" | digest) INSTANCE_DIGEST=$(hmac "$instance")
CACHE=headcount-license-$(printf %s "$KEY_DIGEST" | cut -c 1-8).json # another key begins anew
INSTALL="\"key\":\"$KEY\",\"product\":\"$PRODUCT\",\"instance\":\"$instance\""
OS=$(uname -s | tr '[:upper:]' '[:lower:]')
SYSTEM=$(printf '"version":"%s","environment":"%s","channel":"%s","os":"%s","arch":"%s"' "$VERSION" \
    "${HEADCOUNT_ENVIRONMENT:-production}" "${HEADCOUNT_CHANNEL:-stable}" "$OS" "$(uname -m)")
load
last=$((failures ? asked : seen)) due=false
if [ "$(now)" -ge "$next" ] || [ "$(now)" -lt $((last - TOLERANCE)) ]; then due=true; fi
case $KEY,${1:-},${2:-},$due in
,*) problem='no license key' ;;
*,check,now,* | *,check,,true) ask ;;
*,check,*)
    if [ "$(now)" -gt $((seen + 60)) ]; then seen=$(now); save; fi ;;
*,release,*)
    left=1.9
    post /api/license/release "{$INSTALL}" || { echo released=false; exit 1; }
    answer='' says='' next=0 problem='the seat was given back'
    save
    echo released=true && exit ;;
esac
show

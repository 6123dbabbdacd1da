#!/bin/bash
# Makes the TPM vectors beside this file with a software TPM. Needs swtpm, tpm2-tools, openssl and
# python3 (Debian). Usage: make-tpm.sh [FOLDER]
set -euo pipefail
out=$(realpath "${1:-$(dirname "$0")}")
work=$(mktemp -d) && cd "$work" && mkdir state
port=23321
swtpm socket --tpm2 --tpmstate dir=state --server type=tcp,port=$port,bindaddr=127.0.0.1 \
  --ctrl type=tcp,port=$((port + 1)),bindaddr=127.0.0.1 --flags not-need-init,startup-clear &
pid=$!
trap 'kill $pid; rm -r "$work"' EXIT
export TPM2TOOLS_TCTI="swtpm:host=127.0.0.1,port=$port"
sleep 1
key_authorization='evaGxfADs6pSRb2LAv9IZw.LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0'

place() { # place NAME ALGORITHM ATTRIBUTES HANDLE: a key in the TPM, NAME.pub and NAME.der
  tpm2_create -Q -C primary.ctx -G "$2" -a "$3" -u "$1.pub" -r "$1.priv" && tpm2_flushcontext -t
  tpm2_load -Q -C primary.ctx -u "$1.pub" -r "$1.priv" -c "$1.ctx" && tpm2_flushcontext -t
  tpm2_evictcontrol -Q -C o -c "$1.ctx" "$4" && tpm2_flushcontext -t
  tpm2_readpublic -Q -c "$4" -f pem -o "$1.pem"
  openssl pkey -pubin -in "$1.pem" -outform DER -out "$1.der"
}
vector() { # vector NAME AK-ALGORITHM KEY-ALGORITHM KEY-ATTRIBUTES
  d=$out/$1 && mkdir -p "$d"
  place ak "$2" 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign' 0x81010001
  place key "$3" "$4" 0x81010002
  cp ak.der "$d/ak-spki.der" && cp key.der "$d/key-spki.der"
  printf %s "$key_authorization" > "$d/key-authorization.txt"
  tail -c +3 key.pub > "$d/pub-area.bin" # TPM2B_PUBLIC without its length
  # tpm2_certify of Debian 12 takes no qualifying data: TPM2_Certify as Part 3, 18.2 has it.
  KEY_AUTHORIZATION=$key_authorization python3 - "$d" <<'PY'
import hashlib, os, struct, subprocess, sys
extra = hashlib.sha256(os.environ["KEY_AUTHORIZATION"].encode()).digest()
session = struct.pack(">IHBH", 0x40000009, 0, 0, 0)
body = struct.pack(">III", 0x81010002, 0x81010001, 18) + session * 2
body += struct.pack(">H", len(extra)) + extra + struct.pack(">H", 0x0010)
command = struct.pack(">HII", 0x8002, 10 + len(body), 0x00000148) + body
reply = subprocess.run(["tpm2_send"], input=command, capture_output=True, check=True).stdout
tag, size, code, parameters = struct.unpack(">HIII", reply[:14])
assert (tag, size, code) == (0x8002, len(reply), 0), (tag, size, hex(code))
answer = reply[14:14 + parameters]
length, = struct.unpack(">H", answer[:2])
open(sys.argv[1] + "/cert-info.bin", "wb").write(answer[2:2 + length])
open(sys.argv[1] + "/sig.bin", "wb").write(answer[2 + length:])
PY
  tpm2_evictcontrol -Q -C o -c 0x81010001 && tpm2_evictcontrol -Q -C o -c 0x81010002
}
tpm2_createprimary -Q -C o -G ecc -c primary.ctx && tpm2_flushcontext -t
usual='fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign'
vector tpm-ec ecc256:ecdsa-sha256:null ecc256:ecdsa:null "$usual"
vector tpm-rsa rsa2048:rsassa-sha256:null rsa2048:null:null "$usual"
vector tpm-exportable ecc256:ecdsa-sha256:null ecc256:ecdsa:null 'sensitivedataorigin|userwithauth|sign'

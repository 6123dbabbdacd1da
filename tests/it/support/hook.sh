#!/bin/sh
# One hook for every client: publishes challenges where the tests' servers look.
#   TXT_DIR  dns-01 records, a file per value: TXT_DIR/<name>/<value>
#   WEBROOT  http-01 answers, a file per token
# The clients tell the same three facts in four different ways.
set -eu

lower() { printf '%s' "${1%.}" | tr '[:upper:]' '[:lower:]'; }
txt_add() { d="$TXT_DIR/$(lower "$1")"; mkdir -p "$d"; : >"$d/$2"; }
txt_remove() { rm -f "$TXT_DIR/$(lower "$1")/$2"; }

case "${1:-}" in
# lego's exec provider: present|cleanup FQDN VALUE
present) txt_add "$2" "$3" ;;
cleanup) txt_remove "$2" "$3" ;;
# dehydrated: deploy_challenge|clean_challenge DOMAIN TOKEN VALUE
deploy_challenge) txt_add "_acme-challenge.$2" "$4" ;;
clean_challenge) txt_remove "_acme-challenge.$2" "$4" ;;
# mod_md: setup|teardown DOMAIN [VALUE]
setup) txt_add "_acme-challenge.$2" "$3" ;;
teardown) rm -rf "$TXT_DIR/_acme-challenge.$(lower "$2")" ;;
# uacme: begin|done|failed TYPE IDENTIFIER TOKEN AUTHORIZATION; non-zero declines the type.
# For dns-01 it hands over the TXT value itself.
begin | done | failed)
    [ "$2" = "${UACME_CHALLENGE}" ] || exit 1
    case "$1 $2" in
    "begin http-01") printf '%s' "$5" >"$WEBROOT/$4" ;;
    *" http-01") rm -f "$WEBROOT/$4" ;;
    "begin dns-01") txt_add "_acme-challenge.$3" "$5" ;;
    *" dns-01") txt_remove "_acme-challenge.$3" "$5" ;;
    esac
    ;;
# certbot's manual plugin speaks through the environment.
certbot-auth) txt_add "_acme-challenge.$CERTBOT_DOMAIN" "$CERTBOT_VALIDATION" ;;
certbot-cleanup) txt_remove "_acme-challenge.$CERTBOT_DOMAIN" "$CERTBOT_VALIDATION" ;;
# dehydrated calls its hook for many other events.
*) ;;
esac

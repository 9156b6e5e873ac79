#!/usr/bin/env bash
# Credentials for trying AUTH: a file of API keys with one key in it, and an issuer's keys with one token of it. Both may
# do everything, for a day.
#
#   scripts/credentials.sh BINARY DIRECTORY
#
# DIRECTORY then has keys.json and jwks.json, for the service, and key and token, for a client. Prints the settings of
# the service, a line each. Needs openssl.
set -euo pipefail
binary=$(realpath "$1")
cd "$2"

scopes="events:write,events:read,admin"
API_KEYS_FILE=keys.json "$binary" keys add --name shop --scopes "$scopes" --expires 1d >key

base64url() { basenc --base64url --wrap 0 | tr -d =; }
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out issuer.pem
modulus=$(openssl rsa -in issuer.pem -noout -modulus | cut -d= -f2 | basenc --base16 --decode | base64url)
printf '{"keys":[{"kty":"RSA","kid":"rsa","alg":"RS256","use":"sig","n":"%s","e":"AQAB"}]}' "$modulus" >jwks.json
header=$(printf '{"alg":"RS256","typ":"at+jwt","kid":"rsa"}' | base64url)
claims=$(printf '{"iss":"https://issuer.example","aud":"highwater","sub":"ann","client_id":"shop","exp":%d,"scope":"%s"}' \
  $(($(date +%s) + 86400)) "${scopes//,/ }" | base64url)
signature=$(printf '%s.%s' "$header" "$claims" | openssl dgst -sha256 -sign issuer.pem -binary | base64url)
printf '%s.%s.%s\n' "$header" "$claims" "$signature" >token
rm issuer.pem

printf '%s\n' "API_KEYS_FILE=$PWD/keys.json" JWT_ISSUER=https://issuer.example JWT_AUDIENCE=highwater "JWT_JWKS=$PWD/jwks.json"

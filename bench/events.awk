# Writes EVENTS user activity events, a line each: the key (userId), a tab, the value (JSON, some 340 bytes).
# The same seed gives the same events; no two have the same eventId.
#
#   awk -v EVENTS=1000000 -f bench/events.awk | kcat -P -b BROKERS -t TOPIC -K "$(printf '\t')" -X partitioner=murmur2_random

function hex(digits,   text) {
  text = ""
  while (length(text) < digits) text = text sprintf("%06x", int(rand() * 16777216))
  return substr(text, 1, digits)
}

BEGIN {
  srand(42)
  split("LOGIN LOGOUT PRODUCT_VIEW PRODUCT_VIEW PRODUCT_VIEW", types, " ")
  for (n = 0; n < EVENTS; n++) {
    user = sprintf("user-%05d", int(rand() * 10000) + 1)
    # The last group counts, which makes the id unique; the others spread it.
    id = sprintf("%s-%s-4%s-8%s-%012x", hex(8), hex(4), hex(3), hex(3), n)
    time = sprintf("2025-06-%02dT%02d:%02d:%02d.%03dZ", n / 86400000 % 28 + 1, n / 3600000 % 24, n / 60000 % 60, n / 1000 % 60, n % 1000)
    payload = sprintf("{\"sku\":\"SKU-%06d\",\"price\":%d.%02d,\"currency\":\"EUR\",\"quantity\":%d,\"referrer\":\"https://shop.example/c/%d\",\"session\":\"", \
      int(rand() * 1000000), int(rand() * 900) + 1, int(rand() * 100), int(rand() * 9) + 1, int(rand() * 500) + 1)
    payload = payload hex(198 - length(payload)) "\"}"
    printf "%s\t{\"eventId\":\"%s\",\"userId\":\"%s\",\"eventType\":\"%s\",\"timestamp\":\"%s\",\"payload\":%s}\n", \
      user, id, user, types[int(rand() * 5) + 1], time, payload
  }
}

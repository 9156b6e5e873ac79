# Writes EVENTS user activity events (less the first FIRST of them), a line each: the key (userId), a tab, the value (JSON, some 340 bytes).
# The same seed gives the same events; no two have the same eventId. With RARE, every so many events there is one of the
# type REFUND; with JITTER, an event's time is up to so many milliseconds before its turn.
#
#   awk -v EVENTS=1000000 -f bench/events.awk | kcat -P -b BROKERS -t TOPIC -K "$(printf '\t')" -X partitioner=murmur2_random

function hex(digits,   text) {
  text = ""
  while (length(text) < digits) text = text sprintf("%06x", int(rand() * 16777216))
  return substr(text, 1, digits)
}

BEGIN {
  srand(42 + FIRST)
  split("LOGIN LOGOUT PRODUCT_VIEW PRODUCT_VIEW PRODUCT_VIEW", types, " ")
  for (n = FIRST + 0; n < EVENTS; n++) {
    user = sprintf("user-%05d", int(rand() * 10000) + 1)
    # The last group counts, which makes the id unique; the others spread it.
    id = sprintf("%s-%s-4%s-8%s-%012x", hex(8), hex(4), hex(3), hex(3), n)
    t = JITTER && n > JITTER ? n - int(rand() * JITTER) : n
    time = sprintf("2025-06-%02dT%02d:%02d:%02d.%03dZ", t / 86400000 % 28 + 1, t / 3600000 % 24, t / 60000 % 60, t / 1000 % 60, t % 1000)
    type = RARE && n % RARE == 0 ? "REFUND" : types[int(rand() * 5) + 1]
    payload = sprintf("{\"sku\":\"SKU-%06d\",\"price\":%d.%02d,\"currency\":\"EUR\",\"quantity\":%d,\"referrer\":\"https://shop.example/c/%d\",\"session\":\"", \
      int(rand() * 1000000), int(rand() * 900) + 1, int(rand() * 100), int(rand() * 9) + 1, int(rand() * 500) + 1)
    payload = payload hex(198 - length(payload)) "\"}"
    printf "%s\t{\"eventId\":\"%s\",\"userId\":\"%s\",\"eventType\":\"%s\",\"timestamp\":\"%s\",\"payload\":%s}\n", \
      user, id, user, type, time, payload
  }
}

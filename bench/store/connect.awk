# From the lines of bench/events.awk, records for Kafka Connect's JDBC sink, which takes only values that bring their
# schema: the same columns as Highwater stores, with Connect's JsonConverter's schema in each.

function field(name) { return "{\"field\":\"" name "\",\"type\":\"string\"}" }

BEGIN {
  FS = "\t"
  schema = "{\"type\":\"struct\",\"fields\":[" field("id") "," field("user_id") "," field("event_type") "," \
    field("occurred_at") "," field("stored_at") "," field("event") "]}"
}

{
  split($2, text, "\"") # the values stand at the same places in every line
  event = $2
  gsub(/"/, "\\\"", event)
  printf "%s\t{\"schema\":%s,\"payload\":{\"id\":\"%s\",\"user_id\":\"%s\",\"event_type\":\"%s\",\"occurred_at\":\"%s\",\"stored_at\":\"%s\",\"event\":\"%s\"}}\n", \
    $1, schema, text[4], text[8], tolower(text[12]), text[16], text[16], event
}

# From the JSON lines of scripts/bench-store.sh, tables in Markdown: medians of the rounds, in the order of the first.
#
#   jq -rsf bench/store/table.jq RESULTS.jsonl

def median: map(select(. != null)) | sort | length as $n
  | if $n == 0 then null elif $n % 2 == 1 then .[$n / 2 | floor] else (.[$n / 2 - 1] + .[$n / 2]) / 2 end;
def grouped: tostring | explode | reverse | [range(0; length; 3) as $i | .[$i:$i + 3] | reverse | implode] | reverse | join(",");
def tenths: . * 10 | round / 10;
def row: "| " + (map(tostring) | join(" | ")) + " |";
def table($head): ($head | row), ($head | map(if . == "" then "---" else "---:" end) | row), (.[] | row);

([.[] | select(.what == "machine")] | last) as $machine
| [.[] | select(.what == "stored")] as $stored
| [.[] | select(.what == "grown")] as $grown
| ($stored | reduce .[] as $line ([]; if any(.[]; . == $line.who) then . else . + [$line.who] end)) as $order
| [$order[] as $who | [$stored[] | select(.who == $who)]
    | {who: $who, rate: (map(.events / .seconds) | median), cpu: (map(.cpu_ms / .events * 1e3) | median),
       postgres: (map(.postgres_cpu_ms / .events * 1e3) | median), wal: (map(.wal_bytes / .events) | median),
       bytes: (map(.bytes / .events) | median)}] as $rows
| ([$rows[] | select(.who == "COPY") | .rate] | first) as $copy
| "\($machine.cores) cores of \($machine.cpu), \($machine.kernel), PostgreSQL \($machine.postgres) (\($machine.settings)), Kafka \($machine.kafka); " +
  "medians of \([$stored[].round] | max) rounds; \($machine.day)",
  "",
  ([$rows[] | [.who, (.rate | round | grouped), (if $copy then (.rate / $copy * 100 | round | "\(.) %") else "–" end),
    (.cpu | tenths), (.postgres | tenths), (.wal | round | grouped), (.bytes | round | grouped)]]
    | table(["", "events/s", "of COPY", "CPU s a million, program", "CPU s a million, PostgreSQL", "WAL bytes an event", "bytes on disk an event"])),
  (if ($grown | length) > 1 then
    "",
    ([range(1; $grown | length) as $i | $grown[$i - 1] as $from | $grown[$i] as $to | ($to.events - $from.events) as $events
      | [($to.events / 1e6 | tenths), ($events / ($to.at - $from.at) * 1e6 | round | grouped),
         (($to.cpu_ms - $from.cpu_ms) / $events * 1e3 | tenths),
         (($to.postgres_cpu_ms - $from.postgres_cpu_ms) / $events * 1e3 | tenths),
         (($to.wal_bytes - $from.wal_bytes) / $events | round | grouped)]]
      | table(["million events stored", "events/s", "CPU s a million, program", "CPU s a million, PostgreSQL", "WAL bytes an event"]))
  else empty end)

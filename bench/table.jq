# From the JSON lines of scripts/bench.sh, tables in Markdown: medians of the rounds, in the order of the first.
#
#   jq -rsf bench/table.jq RESULTS.jsonl

def median: map(select(. != null)) | sort | length as $n
  | if $n == 0 then null elif $n % 2 == 1 then .[$n / 2 | floor] else (.[$n / 2 - 1] + .[$n / 2]) / 2 end;

def grouped: tostring | explode | reverse | [range(0; length; 3) as $i | .[$i:$i + 3] | reverse | implode] | reverse | join(",");

# To as many digits as the size deserves.
def shown: if . == null then "–" elif . >= 1000 then round | grouped elif . >= 20 then round
  elif . >= 1 then (. * 10 | round / 10) else (. * 100 | round / 100) end;

def over($a; $b): if $a == null or $b == null or $b == 0 then null else $a / $b end;
def row: "| " + (map(tostring) | join(" | ")) + " |";
def table($head): ($head | row), ($head | map(if . == "" then "---" else "---:" end) | row), (.[] | row);

def of($lines; $what; field): $lines | map(select(.what == $what) | field) | median;

([.[] | select(.what == "machine")] | first) as $machine
| ([.[] | select(.who)] | reduce .[] as $line ([]; if any(.[]; . == $line.who) then . else . + [$line.who] end)) as $order
| . as $all
| [$order[] as $who | [$all[] | select(.who == $who)] as $lines
   | [64, 512] as [$few, $many]
   | {
       who: $who,
       few: of($lines; "post"; select(.connections == $few) | .per_second),
       few_p50: of($lines; "post"; select(.connections == $few) | .p50_ms),
       few_p99: of($lines; "post"; select(.connections == $few) | .p99_ms),
       many: of($lines; "post"; select(.connections == $many) | .per_second),
       many_p50: of($lines; "post"; select(.connections == $many) | .p50_ms),
       many_p99: of($lines; "post"; select(.connections == $many) | .p99_ms),
       few_cpu: of($lines; "post"; select(.connections == $few) | .cpu_us),
       few_broker: of($lines; "post"; select(.connections == $few) | .broker_cpu_us),
       many_cpu: of($lines; "post"; select(.connections == $many) | .cpu_us),
       many_broker: of($lines; "post"; select(.connections == $many) | .broker_cpu_us),
       consumed_cpu: of($lines; "consume"; .cpu_us),
       consumed_broker: of($lines; "consume"; .broker_cpu_us),
       refused: ([$lines[] | select(.what == "post") | .refused + .failed] | add),
       first: of($lines; "start"; .first_answer_ms),
       rest: of($lines; "start"; .rss_bytes),
       consumed: of($lines; "consume"; .seconds),
       full: of($lines; "consume"; .rss_bytes),
       beyond: of($lines; "get"; .bytes_beyond_json),
       get: of($lines; "get"; .seconds),
       growth: of($lines; "get"; [.peak_bytes - .before_bytes, 0] | max)
     }] as $rows
| ($machine.events | tostring | tonumber | grouped) as $events
| [$rows[] | select(.who | startswith("Rust: axum, librdkafka"))] as $reference
| ($reference | map(select(.who == "Rust: axum, librdkafka")) | first) as $plain
| def mb: if . == null then "–" else . / 1e6 | shown end;

"\($machine.cores) cores of \($machine.cpu), \($machine.memory_bytes / 1e9 | round) GB, \($machine.kernel), shared with wrk and Kafka \($machine.kafka); " +
"medians of \($machine.rounds) rounds, \($machine.seconds) s a run; \($machine.day)",
"",
([$rows[] | [.who, (.few, .few_p50, .few_p99, .many, .many_p50, .many_p99 | shown), (.refused // "–")]]
  | table(["", "POST/s, 64 connections", "p50 ms", "p99 ms", "POST/s, 512 connections", "p50 ms", "p99 ms", "not 201"])),
"",
([$rows[] | select(.first) | [.who, (.first | shown), (.rest | mb), (.consumed | shown), (.full | mb), (.beyond | shown), (.get | shown), (.growth | mb)]]
  | table(["", "first answer, ms", "MB at rest", "\($events) consumed, s", "MB then", "bytes an event beyond its JSON", "GET of them, s", "MB more meanwhile"])),
"",
"CPU, in µs, of the process and of the broker:",
"",
([$rows[] | [.who, (.few_cpu, .few_broker, .many_cpu, .many_broker, .consumed_cpu, .consumed_broker | shown)]]
  | table(["", "a POST, 64 connections", "broker", "a POST, 512 connections", "broker", "an event consumed", "broker"])),
(if $plain then
  "",
  "As multiples of Rust: axum, librdkafka (POST/s: more is better; the others say how many times faster or lower):",
  "",
  ([$rows[] | [.who, (over(.few; $plain.few), over(.few; [$reference[].few] | max), over(.many; [$reference[].many] | max),
      over([$reference[].few_p99] | min; .few_p99), over([$reference[].many_p99] | min; .many_p99),
      over($plain.consumed; .consumed), over($plain.get; .get) | shown)]]
    | table(["", "POST/s, 64: as it comes", "64: its best linger", "512: its best linger", "p99, 64: its best", "p99, 512: its best", "consumed", "GET"]))
else empty end)

-- wrk script: POSTs user activity events of some 240 bytes; one JSON line at the end, which tail -1 takes.
--
--   wrk -t1 -c64 -d10s --timeout 15s -s bench/post.lua http://127.0.0.1:8000 | tail -1
--
-- userId is random among 10,000, the payload an object of exactly 200 bytes of JSON. Latencies are wrk's: of a
-- closed loop, not corrected for coordinated omission. `refused` counts answers of status 400 and above.

local users = 10000
local payload_bytes = 200
local types = { "LOGIN", "LOGOUT", "PRODUCT_VIEW", "PRODUCT_VIEW", "PRODUCT_VIEW" }

-- Requests are made up front, one a user: the load generator shares the machine and should cost little.
local requests = {}
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("id", threads)
end

local function hex(digits)
  local text = {}
  for i = 1, digits do text[i] = string.format("%x", math.random(0, 15)) end
  return table.concat(text)
end

local function payload()
  local head = string.format(
    '{"sku":"SKU-%06d","price":%d.%02d,"currency":"EUR","quantity":%d,"referrer":"https://shop.example/c/%d","session":"',
    math.random(0, 999999), math.random(1, 900), math.random(0, 99), math.random(1, 9), math.random(1, 500))
  return head .. hex(payload_bytes - #head - 2) .. '"}'
end

function init()
  math.randomseed(os.time() * 1000 + id * 7919)
  local headers = { ["Content-Type"] = "application/json" }
  for user = 1, users do
    local body = string.format('{"userId":"user-%05d","eventType":"%s","payload":%s}', user, types[math.random(#types)], payload())
    requests[user] = wrk.format("POST", "/events/generate", headers, body)
  end
end

function request()
  return requests[math.random(users)]
end

function done(summary, latency)
  local seconds, errors = summary.duration / 1e6, summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '{"per_second":%.0f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"requests":%d,"refused":%d,"failed":%d}\n',
    (summary.requests - errors.status) / seconds, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, summary.requests, errors.status, failed))
end

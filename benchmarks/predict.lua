-- Closed-loop load for wrk: another row on each request, one JSON line at the end.
-- wrk ... -s predict.lua URL -- SEED BODY [CLIENTS]; BODY has one %s for the row's four numbers.
-- With CLIENTS, each request names one of so many addresses: the server has to trust this proxy.

local body, clients
local headers = { ["Content-Type"] = "application/json" }

function init(args)
  math.randomseed(tonumber(args[1]))
  body, clients = args[2], tonumber(args[3] or "0")
end

-- The ranges are the iris data's; six decimals make practically every row a new one.
function request()
  local random = math.random
  if clients > 0 then
    local client = random(clients)
    headers["X-Forwarded-For"] = string.format("198.18.%d.%d", math.floor(client / 256), client % 256)
  end
  local row = string.format("%.6f, %.6f, %.6f, %.6f",
    4.3 + 3.6 * random(), 2.0 + 2.4 * random(), 1.0 + 5.9 * random(), 0.1 + 2.4 * random())
  return wrk.format("POST", nil, headers, string.format(body, row))
end

function done(summary, latency)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  local good = summary.requests - errors.status
  io.write(string.format(
    '{"rps": %.3f, "p50": %.4f, "p95": %.4f, "p99": %.4f, "requests": %d, "failures": %d}\n',
    good / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(95) / 1000,
    latency:percentile(99) / 1000, summary.requests, errors.status + lost))
end

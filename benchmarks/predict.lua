-- Closed-loop load for wrk: other rows on each request, one JSON line at the end.
-- wrk ... -s predict.lua URL -- SEED BODY [CLIENTS [ROWS [DISTINCT]]]; BODY has one %s for the row.
-- With CLIENTS, each request names one of so many addresses: the server has to trust this proxy.
-- With more than one of ROWS, each request has so many, as lists. With DISTINCT, the same so many
-- requests come again and again.

local seed, body, clients, rows, distinct
local sent = 0

function init(args)
  seed, body = tonumber(args[1]), args[2]
  clients, rows = tonumber(args[3] or "0"), tonumber(args[4] or "1")
  distinct = tonumber(args[5] or "0")
  math.randomseed(seed)
  wrk.headers["Content-Type"] = "application/json"
end

-- The ranges are the iris data's; six decimals make practically every row a new one.
local function new_row()
  local random = math.random
  return string.format("%.6f, %.6f, %.6f, %.6f",
    4.3 + 3.6 * random(), 2.0 + 2.4 * random(), 1.0 + 5.9 * random(), 0.1 + 2.4 * random())
end

function request()
  if distinct > 0 and sent % distinct == 0 then math.randomseed(seed) end
  sent = sent + 1
  if clients > 0 then
    local client = math.random(clients)
    wrk.headers["X-Forwarded-For"] =
      string.format("198.18.%d.%d", math.floor(client / 256), client % 256)
  end
  local content = new_row()
  if rows > 1 then
    local many = { content }
    for number = 2, rows do many[number] = new_row() end
    content = "[" .. table.concat(many, "], [") .. "]"
  end
  return wrk.format("POST", nil, nil, string.format(body, content))
end

function done(summary, latency)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  local good = summary.requests - errors.status
  local function ms(share)  -- infinite where nothing was answered in time
    return summary.requests > 0 and string.format("%.4f", latency:percentile(share) / 1000)
      or "Infinity"
  end
  io.write(string.format(
    '{"rps": %.3f, "p50": %s, "p95": %s, "p99": %s, "requests": %d, "failures": %d}\n',
    good / summary.duration * 1e6, ms(50), ms(95), ms(99), summary.requests, errors.status + lost))
end

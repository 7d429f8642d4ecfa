-- The generic cell rate algorithm over all keys of a request: each has enough, or nothing is taken from any.
-- Time is this server's: one clock for every process. A key holds the theoretical arrival time in microseconds.
-- ARGV, for each key: microseconds a token, burst, tokens wanted, size of a batch.
-- Answers 1 or 0, then for each key: tokens taken, tokens left, milliseconds to wait, milliseconds until it is full.
local DAY = 86400000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local refused = false
local arrivals, frees, takes, waits = {}, {}, {}, {}

for i, key in ipairs(KEYS) do
  local interval, burst = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
  local cost, batch = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  -- What cannot be read is as good as nothing.
  local arrival = math.max(tonumber(redis.call('GET', key) or '') or now, now)
  local room = burst * interval - (arrival - now)
  local free = math.max(0, math.floor(room / interval + 0.000001))
  -- What costs more than the burst must find it full, and leaves a debt.
  local need = math.min(cost, burst)
  arrivals[i], frees[i], takes[i], waits[i] = arrival, free, cost, 0
  if free < need then
    refused = true
    waits[i] = math.ceil((need * interval - room) / 1000)
  elseif batch > cost and free >= 2 * batch then
    -- The last tokens go one by one, to whoever asks.
    takes[i] = batch
  end
end

local answer = { refused and 0 or 1 }
for i, key in ipairs(KEYS) do
  local taken = 0
  if not refused then
    taken = takes[i]
    arrivals[i] = arrivals[i] + taken * tonumber(ARGV[4 * i - 3])
    frees[i] = math.max(0, frees[i] - taken)
    local life = math.min(DAY, math.ceil((arrivals[i] - now) / 1000))
    redis.call('SET', key, string.format('%.3f', arrivals[i]), 'PX', math.max(1, life))
  end
  answer[#answer + 1] = taken
  answer[#answer + 1] = frees[i]
  answer[#answer + 1] = waits[i]
  answer[#answer + 1] = math.ceil((arrivals[i] - now) / 1000)
end
return answer

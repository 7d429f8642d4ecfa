-- Gives tokens back. ARGV: microseconds a token, tokens.
local arrival = tonumber(redis.call('GET', KEYS[1]) or '')
if not arrival then
  return 0
end
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
arrival = arrival - tonumber(ARGV[1]) * tonumber(ARGV[2])
if arrival <= now then
  return redis.call('DEL', KEYS[1])
end
local life = math.min(86400000, math.ceil((arrival - now) / 1000))
redis.call('SET', KEYS[1], string.format('%.3f', arrival), 'PX', math.max(1, life))
return 1

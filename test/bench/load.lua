-- wrk's own figures, as one line of JSON. With two numbers behind `--`, a connection waits that many milliseconds, at
-- least and at most, between an answer and its next request.
function init(args)
  local least, most = tonumber(args[1]), tonumber(args[2])
  if most then
    function delay()
      return math.random(least, most)
    end
  end
end

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"durationUs":%d,"bytes":%d,"failed":%d,"p50Us":%d,"p99Us":%d,"maxUs":%d}\n',
    summary.requests, summary.duration, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end

# The tables of tests/bench/run, in Markdown. Reads lines of `system ID NAME PROMISE`, then the results' columns:
# run, row, id, metric, value, messages, missing, duplicated, altered, reordered; all separated by tabs.

BEGIN { FS = "\t" }

$1 == "system" {
  order[++systems] = $2
  name[$2] = $3
  promise[$2] = $4
  next
}

{
  key = $2 "," $3 "," $4
  count[key]++
  value[key, count[key]] = $5 + 0
  if ($6 + 0 > largest[key])
    largest[key] = $6 + 0
  seen[$2] = 1
  if ($2 == "flush") {
    fewest_us = !fewest_us || $5 + 0 < fewest_us ? $5 + 0 : fewest_us
    most_us = $5 + 0 > most_us ? $5 + 0 : most_us
  }
  if ($7 != "" && $7 + 0 > missing[$3, $2])
    missing[$3, $2] = $7 + 0
  twice[$3, $2] += $8
  altered[$3, $2] += $9
  reordered[$3, $2] += $10
}

function median(key, i, j, n, kept, sorted) {
  n = count[key]
  for (i = 1; i <= n; i++) {
    kept = value[key, i]
    for (j = i - 1; j > 0 && sorted[j] > kept; j--)
      sorted[j + 1] = sorted[j]
    sorted[j + 1] = kept
  }
  return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function amount(number) {
  if (number >= 999500)
    return sprintf("%.2f M", number / 1e6)
  if (number >= 99950)
    return sprintf("%.0f k", number / 1e3)
  if (number >= 1000)
    return sprintf("%.1f k", number / 1e3)
  return sprintf("%.0f", number)
}

function times(ratio) {
  return sprintf(ratio >= 9.95 ? "%.0f×" : ratio >= 0.095 ? "%.1f×" : "%.2f×", ratio)
}

# How many times better msgpipe is: `more` is 1 where more is better.
function ratio(row, id, metric, more, mine, other) {
  if (id == "msgpipe" || !((row ",msgpipe," metric) in count))
    return ""
  mine = median(row ",msgpipe," metric)
  other = median(row "," id "," metric)
  if (mine <= 0 || other <= 0)
    return ""
  return " (" times(more ? mine / other : other / mine) ")"
}

function speed(row, id, key) {
  key = row "," id ",rate"
  return key in count ? amount(median(key)) "/s" ratio(row, id, "rate", 1) : "–"
}

function duration(row, id, metric, unit, key) {
  key = row "," id "," metric
  if (!(key in count))
    return "–"
  return sprintf(unit == "ms" ? "%.1f ms" : "%.0f µs", median(key) / (unit == "ms" ? 1000 : 1)) \
    ratio(row, id, metric, 0)
}

function memory(id, key) {
  key = "memory," id ",rss_kib"
  if (!(key in count))
    return seen["memory"] && id ~ /-(always|tools)$/ ? "as above" : "–"
  return sprintf("%.0f MiB with %s", median(key) / 1024, amount(largest[key])) \
    (largest[key] == largest["memory,msgpipe,rss_kib"] ? ratio("memory", id, "rss_kib", 0) : "")
}

# Whether every message arrived, once and as it was sent.
function account(id, list, lost, row, rows, i, again, changed, behind) {
  split(list, rows, " ")
  for (i = 1; i in rows; i++) {
    row = rows[i]
    lost = missing[id, row] > lost ? missing[id, row] : lost
    again += twice[id, row]
    changed += altered[id, row]
    behind += reordered[id, row]
  }
  if (!lost && !again && !changed)
    return behind ? "all, once" : "all, once, in order"
  return (lost ? amount(lost) " lost " : "") (again ? amount(again) " twice " : "") (changed ? amount(changed) " altered" : "")
}

function throughput(i, id) {
  print "| system | acknowledged means | publish | publish and consume at once | consume a backlog | messages | arrived |"
  print "| --- | --- | ---: | ---: | ---: | ---: | --- |"
  for (i = 1; i <= systems; i++) {
    id = order[i]
    printf "| %s | %s | %s | %s | %s | %s | %s |\n", name[id], promise[id], speed("publish", id), speed("end-to-end", id), \
      speed("consume", id), amount(largest["publish," id ",rate"]), \
      (("consume," id ",rate") in count || ("end-to-end," id ",rate") in count) ? account(id, "consume end-to-end") : "–"
  }
  print ""
}

function singles(i, id) {
  if (("one-at-a-time,disk,p50_us") in count) {
    name["disk"] = "*the disk: append 4 KiB, flush*"
    order[++systems] = "disk"
  }
  print "| system | one at a time, p50 | p99 | broker's memory with a backlog | one message, whole process |"
  print "| --- | ---: | ---: | ---: | ---: |"
  for (i = 1; i <= systems; i++) {
    id = order[i]
    printf "| %s | %s | %s | %s | %s |\n", name[id], duration("one-at-a-time", id, "p50_us", "us"), \
      duration("one-at-a-time", id, "p99_us", "us"), memory(id), duration("start", id, "p50_us", "ms")
  }
  print ""
}

function direct_line(label, id, metric, key) {
  key = "direct," id "," metric
  if (key in count)
    printf "| %s | %s/s | %s | %s |\n", label, amount(median(key)), amount(largest[key]), account(id, "direct")
}

function direct() {
  print "| direct, PUSH to PULL over a Unix socket | messages | sent | arrived |"
  print "| --- | ---: | ---: | --- |"
  direct_line("**msgpipe**, framed", "msgpipe", "framed")
  direct_line("**msgpipe**, raw", "msgpipe", "raw")
  direct_line("libnng, raw, asynchronous sends", "nng", "raw")
  print ""
}

function of(row, metric, key) {
  key = row ",msgpipe," metric
  return key in count ? median(key) : 0
}

function trust_line(label, number, words, row) {
  printf "| %s | %s/s | %s | %s |\n", label, amount(number), words, account("msgpipe", row)
}

# What delivery that can be trusted costs.
function trust() {
  print "| msgpipe | messages | | arrived |"
  print "| --- | ---: | --- | --- |"
  if (of("retry", "rate"))
    trust_line("each tenth fails once, end to end", of("retry", "rate"), \
      sprintf("%.0f %% of the same flow without failures", 100 * of("retry", "rate") / of("retry", "plain")), "retry")
  if (of("order", "rate"))
    trust_line("`order: key`, 10,000 keys: delivered and settled", of("order", "rate"), "", "order")
  if (of("dedupe", "rate"))
    printf "| `dedupe: {by: id}`, %s ids in the window: published | %s/s | relay %.0f MiB | – |\n", \
      amount(largest["dedupe,msgpipe,rate"]), amount(of("dedupe", "rate")), of("dedupe", "rss_kib") / 1024
  if (of("schedule", "rate"))
    printf "| %s scheduled for 10,000 moments: published | %s/s | relay %.0f MiB; late by %.1f ms (p50), %.1f (p99), " \
      "%.1f at most, while 200 k/s flowed by | all |\n", amount(largest["schedule,msgpipe,rate"]), \
      amount(of("schedule", "rate")), of("schedule", "rss_kib") / 1024, of("schedule", "late_p50_us") / 1000, \
      of("schedule", "late_p99_us") / 1000, of("schedule", "late_max_us") / 1000
  if (of("replay", "rate"))
    trust_line("`mretry replay` of dead letters", of("replay", "rate"), "", "replay")
  print ""
}

function computed(row) {
  return sprintf("relay %.2f µs, runner %.2f", of(row, "relay_us"), of(row, "runner_us"))
}

function pipeline_line(label, row, words) {
  if (of(row, "rate"))
    printf "| %s | %s/s | %s | %s | %s |\n", label, amount(of(row, "rate")), computed(row), words, \
      row == "each" ? "–" : account("msgpipe", row)
}

# Topic to topic. A machine that is shared makes the rates smaller; the processor's time a message hardly changes.
function pipelines() {
  print "| pipelines, topic to topic | messages | processor a message | | arrived |"
  print "| --- | ---: | --- | --- | --- |"
  pipeline_line("`batch` of 10,000 through `cat`", "batch", "the aim is 1 M/s")
  pipeline_line("`stream` through a filter that flushes each line", "stream", \
    sprintf("the bare pipe: %s/s; the aim is 300 k/s", amount(of("stream", "bare"))))
  pipeline_line("`each`: `/bin/true`", "each", \
    of("each", "bare") ? sprintf("%.0f %% of bare `posix_spawn` (%s/s); the aim is 80 %%", \
      of("each", "share"), amount(of("each", "bare"))) : "")
  pipeline_line("steps alone: `where`, `set`, `route`", "steps", "the aim is 1 M/s")
  if (of("rest", "rss_kib"))
    printf "| 200 stages and 400 topics at rest | – | %.4f %% of a core in 10 s; the aim is 0.1 %% | %.1f MiB: relay %.1f, " \
      "runner %.1f, supervisor %.1f; the aim is 64 | – |\n", of("rest", "busy_ppm") / 1e4, of("rest", "rss_kib") / 1024, \
      of("rest", "relay_kib") / 1024, of("rest", "runner_kib") / 1024, of("rest", "supervisor_kib") / 1024
  if (of("rest", "check_us"))
    printf "| `mrelay check` of them | – | – | %.0f ms; the aim is 100 | – |\n", of("rest", "check_us") / 1000
  print ""
}

# What tracing costs and how fast it answers.
function traces() {
  print "| traces | | |"
  print "| --- | ---: | --- |"
  if (of("trace", "rate"))
    printf "| end to end, with traces | %s/s | %.1f %% of the flow without (%s/s); relay %.4f µs a message, %.4f without; " \
      "%.3f bytes a message kept; the aims are 95 %% and 0.2 |\n", amount(of("trace", "rate")), \
      100 * of("trace", "rate") / of("trace", "plain"), amount(of("trace", "plain")), of("trace", "relay_us"), \
      of("trace", "plain_us"), of("trace", "bytes")
  if (of("query", "stats_ms"))
    printf "| %s messages in the store, a tenth with ids and keys | – | show a place %d ms, an id %d (aim 100); list --failed %d (300); " \
      "stats %d (1000); graph %d |\n", amount(largest["query,msgpipe,stats_ms"]), of("query", "show_place_ms"), \
      of("query", "show_id_ms"), of("query", "list_failed_ms"), of("query", "stats_ms"), of("query", "graph_ms")
  if (of("query", "alone_us"))
    printf "| a flow while `show`, `list --failed` and `stats` are asked all the time | – | relay %.3f µs a message, %.3f without: " \
      "%+.1f %%; the aim is 2 |\n", of("query", "beside_us"), of("query", "alone_us"), \
      100 * (of("query", "beside_us") / of("query", "alone_us") - 1)
  if (of("tail", "rate"))
    printf "| `mtrace tail` reads | %s/s | events of single messages, formatted; the relay used %d µs meanwhile |\n", \
      amount(of("tail", "rate")), of("tail", "relay_us")
  print ""
}

END {
  if (seen["publish"] || seen["consume"] || seen["end-to-end"])
    throughput()
  if (seen["one-at-a-time"] || seen["memory"] || seen["start"])
    singles()
  if (seen["direct"])
    direct()
  if (seen["retry"] || seen["order"] || seen["dedupe"] || seen["schedule"] || seen["replay"])
    trust()
  if (seen["batch"] || seen["stream"] || seen["each"] || seen["steps"] || seen["rest"])
    pipelines()
  if (seen["trace"] || seen["query"] || seen["tail"])
    traces()
  if (("publish,msgpipe,rate" in count) || ("one-at-a-time,msgpipe,p50_us" in count))
    print "In parentheses: how many times better msgpipe does. Its times hold its tools from their start to their end, " \
      "reading and writing files of lines; the peers' begin when their programs are connected."
  if (("publish,msgpipe,sender_peak_kib" in count) && ("consume,msgpipe,receiver_peak_kib" in count))
    printf "Peak memory with %s messages: msend %.1f MiB, mrecv %.1f MiB.\n", amount(largest["publish,msgpipe,rate"]), \
      median("publish,msgpipe,sender_peak_kib") / 1024, median("consume,msgpipe,receiver_peak_kib") / 1024
  if (("memory,msgpipe,sender_peak_kib" in count) && ("memory,msgpipe,peak_kib" in count))
    printf "While the backlog of %s was made: msend %.1f MiB at most, mrelay %.1f MiB.\n", \
      amount(largest["memory,msgpipe,rss_kib"]), median("memory,msgpipe,sender_peak_kib") / 1024, \
      median("memory,msgpipe,peak_kib") / 1024
  if (fewest_us)
    printf "Before each system's publishing, appending 4 KiB and flushing took %.0f to %.0f µs (medians of 100).\n", \
      fewest_us, most_us
  if ("one-at-a-time,disk,p50_us" in count)
    print "One at a time and one message: all brokers ran, and took turns in slices of half a second, the bare disk too."
  if (seen["start"])
    print "One message, whole process: msend, redis-cli XADD, mosquitto_pub; for NATS and beanstalkd the C program."
  if ("publish,mosquitto-tools,rate" in count)
    print "mosquitto_pub gets 60,000 lines: of 100,000 at once it delivers about 34,500, and exits 0."
  print ""
}

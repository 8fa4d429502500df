#!/usr/bin/env ruby
# "/join NAME" enters a room; other messages go to the rooms of their client: fws-server -f 'exec:./rooms.rb'
require "json"

rooms = Hash.new { |all, client| all[client] = [] }
write = ->(line) { $stdout.puts(JSON.generate(line)); $stdout.flush }
$stdin.each_line do |line|
  event = JSON.parse(line)
  client, data = event.values_at("client", "data")
  write.({ hello: 1, events: %w[message disconnect] }) if event["event"] == "hello"
  rooms.delete(client) if event["event"] == "disconnect"
  next unless event["event"] == "message"
  if data.to_s.start_with?("/join ")
    rooms[client] |= [data[6..]]
    write.({ do: "join", client: client, topic: data[6..] })
  else
    rooms[client].each { |topic| write.({ do: "broadcast", topic: topic, data: data.to_s, as: client }) }
  end
  write.({ id: event["id"], drop: true })
end

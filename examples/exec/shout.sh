#!/bin/sh
# Every message in capital letters, with jq: fws-server -f 'exec:./shout.sh' broadcast
# One jq reads all lines: a process for each line would be slow.
exec jq --unbuffered --compact-output '
  if .event == "hello" then
    { hello: 1, events: ["message"] }
  elif .event != "message" then
    empty
  elif .data then
    { id, data: (.data | ascii_upcase) }
  else
    { id }
  end'

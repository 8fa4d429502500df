# Drops messages with a word: fws-server -f 'exec:mawk -W interactive -v word=spam -f block.awk' broadcast
# mawk reads pipes in blocks; -W interactive makes it read lines. gawk needs no option: exec:gawk -v word=spam -f block.awk
/^\{"event":"hello"/ {
  print "{\"hello\":1,\"events\":[\"message\"]}"
  fflush()
}
# "event" and "id" are the first fields of a question.
match($0, /^\{"event":"message","id":[0-9]+/) {
  id = substr($0, 20, RLENGTH - 19)
  print "{" id (index($0, word) ? ",\"drop\":\"word\"}" : "}")
  fflush()
}

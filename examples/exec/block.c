// Drops messages with a word: cc -O2 -o block block.c && fws-server -f 'exec:./block spam' broadcast
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  char *line = NULL;
  size_t size = 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("{\"hello\":1,\"events\":[\"message\"]}");
  while (getline(&line, &size, stdin) > 0) {
    unsigned long id; // "event" and "id" are the first fields of a question.
    if (sscanf(line, "{\"event\":\"message\",\"id\":%lu", &id) != 1) continue;
    printf("{\"id\":%lu%s}\n", id, argc > 1 && strstr(line, argv[1]) ? ",\"drop\":\"word\"" : "");
  }
}
